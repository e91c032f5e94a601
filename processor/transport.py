"""Faust's Kafka transport with acknowledgements in our own hands.

As it is, Faust acknowledges a message when its agent asks for the next, one whose agent raised, and one that it skips
because of a rebalance: each is a loss without a word if the process then dies. Here nothing is acknowledged but by
`settle`.
"""

from collections.abc import AsyncIterator
from typing import Any, ClassVar

from faust.transport.drivers import TRANSPORTS, aiokafka
from faust.types import ConsumerT
from faust.types.tuples import TP, Message

SCHEME = "lanner"


class Consumer(aiokafka.Consumer):
    """The consumer of one worker."""

    _is_between_assignments = False

    def ack(self, message: Message) -> bool:  # noqa: ARG002  Faust's call
        """Do nothing: that Faust is through with a message doesn't mean that its alerts are safe."""
        return False

    async def on_partitions_revoked(self, revoked: set[TP]) -> None:
        """Take no acknowledgement any more: Faust has forgotten those before, and would take this one for the first."""
        self._is_between_assignments = True
        await super().on_partitions_revoked(revoked)

    async def on_partitions_assigned(self, assigned: set[TP], generation_id: int = 0) -> None:
        """Take acknowledgements again, those of this generation."""
        self._is_between_assignments = False
        await super().on_partitions_assigned(assigned, generation_id)

    def lag(self) -> dict[TP, int]:
        """Give, by partition, how many messages are not acknowledged yet, as far as is known; from any thread."""
        found = {}
        for partition in self.assignment():
            # Before its first commit, where reading began.
            begun = self._committed_offset.get(partition) or self._read_offset.get(partition)
            if begun is not None:
                found[partition] = max(0, (self.highwater(partition) or 0) - begun)
        return found

    def settle(self, message: Message) -> None:
        """Acknowledge a message for good; one from before the last rebalance comes again and is left."""
        if not self._is_between_assignments and message.generation_id == self.app.consumer_generation_id:
            super().ack(message)


def unacknowledged(stream: Any) -> AsyncIterator[Any]:
    """Give the events of an agent's stream, none of them acknowledged.

    Where Faust has its stream compiled (all wheels have), it acknowledges inline and never asks the consumer.
    """
    stream.enable_acks = False
    events: AsyncIterator[Any] = stream.events()
    return events


class Transport(aiokafka.Transport):
    """The transport that makes such consumers."""

    Consumer: ClassVar[type[ConsumerT]] = Consumer


def register() -> None:
    """Make Faust know the scheme of our broker addresses."""
    aliases: Any = TRANSPORTS.aliases
    aliases[SCHEME] = "processor.transport:Transport"
