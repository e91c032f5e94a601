"""A consumer of chosen partitions that reads on by another client if its own has lost its brokers permanently."""

from collections.abc import Callable, Iterable
from typing import Any

from confluent_kafka import Consumer, KafkaError, Message, TopicPartition

from bus.clients.renewal.connection_state import ConnectionState, close_aside

MakeConsumer = Callable[[dict[str, Any]], Consumer]
"""Creates a consumer with some more settings."""


class AssignedConsumer:
    """Reads chosen partitions; its position in each survives the change of clients."""

    def __init__(self, make: MakeConsumer) -> None:
        """Create the first client. Raises what make raises."""
        self._make = make
        self._state = ConnectionState()
        self._next: dict[tuple[str, int], TopicPartition] = {}
        self.client = make(self._state.options)
        """The present client; for requests, not for reading."""

    def assign(self, starts: Iterable[TopicPartition]) -> None:
        """Start reading. starts: partitions with the offset of their first message."""
        self._next = {(each.topic, each.partition): each for each in starts}
        self.client.assign(list(self._next.values()))

    def poll(self, timeout: float) -> Message | None:
        """Return the next message or error, or None after timeout seconds. Raises KafkaException."""
        if self._state.is_stalled:
            self._renew()
        message = self.client.poll(timeout)
        if message is not None:
            self._follow(message)
        return message

    def close(self) -> None:
        """Close the connection."""
        self.client.close()

    def _follow(self, message: Message) -> None:
        error, offset = message.error(), message.offset()
        # At the end of a partition, the offset is that of the next message.
        is_end = error is not None and error.code() == KafkaError._PARTITION_EOF  # noqa: SLF001  the client's own name
        if offset is not None and offset >= 0 and (error is None or is_end):
            at = (message.topic() or "", message.partition() or 0)
            if at in self._next:
                self._next[at] = TopicPartition(*at, offset if is_end else offset + 1)

    def _renew(self) -> None:
        fresh = self._make(self._state.options)
        self._state.renewed()
        close_aside(self.client)
        self.client = fresh
        fresh.assign(list(self._next.values()))
