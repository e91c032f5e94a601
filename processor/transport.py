"""Faust's Kafka transport with acknowledgements in our own hands.

As it is, Faust acknowledges a message whose agent raised, and one that it skips because of a rebalance: either is a
loss without a word if the process then dies. Here nothing is acknowledged but by `settle`.
"""

from typing import Any, ClassVar

from faust.transport.drivers import TRANSPORTS, aiokafka
from faust.types import ConsumerT
from faust.types.tuples import TP, Message

SCHEME = "lanner"


class Consumer(aiokafka.Consumer):
    """The consumer of one worker."""

    def ack(self, message: Message) -> bool:  # noqa: ARG002  Faust's call
        """Do nothing: that Faust is through with a message doesn't mean that its alerts are safe."""
        return False

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
        if message.generation_id == self.app.consumer_generation_id:
            super().ack(message)


class Transport(aiokafka.Transport):
    """The transport that makes such consumers."""

    Consumer: ClassVar[type[ConsumerT]] = Consumer


def register() -> None:
    """Make Faust know the scheme of our broker addresses."""
    aliases: Any = TRANSPORTS.aliases
    aliases[SCHEME] = "processor.transport:Transport"
