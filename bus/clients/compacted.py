"""Read and write compacted topics of one partition each. Following one needs no broker to start."""

from collections.abc import Iterator, Sequence
from contextlib import suppress

from confluent_kafka import OFFSET_BEGINNING, KafkaError, KafkaException, Message, TopicPartition

from bus.clients.producers import resending_producer
from bus.clients.readers import make_consumer
from bus.clients.renewal.assigned import AssignedConsumer
from bus.clients.resending import Outgoing, deliver
from bus.connection import Connection
from bus.errors.client_errors import TIMEOUT_SECONDS, ClientErrors, is_forbidden
from bus.errors.refusals import MessageRefused
from bus.errors.unavailable import BusUnavailable
from bus.messages.headers import Headers

_QUIET_SECONDS = 2.0
"""After this time without an answer, a command reports that it waits."""


class CompactedTopicReader:
    """Reads several topics from the beginning, then follows them; knows when it has reached their ends."""

    def __init__(self, connection: Connection, topics: Sequence[str], *, fetch_wait_ms: int = 100) -> None:
        """Create a client; it reads from the first poll on.

        Args:
            connection: the broker.
            topics: names without prefix; each has one partition.
            fetch_wait_ms: how long the broker holds a request at the end of the topics; a topic without messages is
                known to be read in full only then.

        Raises:
            BusUnavailable: the client can't use the settings.
        """
        self._connection = connection
        self._unread = {connection.topic(name) for name in topics}
        self._connecting = ClientErrors(connection)
        fetches = {"fetch.wait.max.ms": fetch_wait_ms}
        self._consumer = AssignedConsumer(
            lambda options: make_consumer(connection, "lanner-follower", self._connecting, options=fetches | options)
        )
        self._is_assigned = False
        self.last_error = ""
        """Why the last poll failed; empty if it did not."""
        self._failure = KafkaError(KafkaError._TIMED_OUT)  # noqa: SLF001  the client's own name for it

    @property
    def has_read_all(self) -> bool:
        """Whether every topic has been read to its end at least once."""
        return not self._unread

    def poll(self, timeout: float) -> tuple[str, Message] | None:
        """Return the next message and its topic's name without prefix, or None after timeout seconds."""
        if not self._is_assigned:
            self._assign(timeout)
        try:
            message = self._consumer.poll(timeout)
        except KafkaException as failure:
            self.last_error = failure.args[0].str()
            return None
        if message is None:
            return None
        error = message.error()
        topic = message.topic() or ""
        if error is None:
            self.last_error = ""
            return topic.removeprefix(self._connection.prefix), message
        if error.code() == KafkaError._PARTITION_EOF:  # noqa: SLF001  the client's own name for it
            self._unread.discard(topic)
            self.last_error = ""
        elif error.code() != KafkaError.GROUP_AUTHORIZATION_FAILED:
            # The client looks up the coordinator of its group even if it joins none.
            self.last_error = error.str()
            self._failure = error
        return None

    @property
    def is_shut_out(self) -> bool:
        """Whether the broker rejects this client, or its access to a topic."""
        return self._connecting.is_final or is_forbidden(self._failure)

    def unavailable(self) -> BusUnavailable:
        """Return an error that gives the reason why no messages arrive."""
        return self._connecting.unavailable(self._failure)

    def close(self) -> None:
        """Close the connection."""
        self._consumer.close()

    def _assign(self, timeout: float) -> None:
        self._is_assigned = True
        names = sorted(self._unread)
        with suppress(KafkaException):
            # A client that is assigned a partition whose leader it doesn't know yet looks for it after 0.5 s.
            for name in names:
                self._consumer.client.list_topics(name, timeout)
        self._consumer.assign([TopicPartition(name, 0, OFFSET_BEGINNING) for name in names])


def read_topics(connection: Connection, topics: Sequence[str]) -> dict[str, dict[bytes, Message]]:
    """Read topics of one partition each to their ends.

    Args:
        connection: the broker.
        topics: names without prefix.

    Returns:
        By topic, the newest message of each key, without deleted keys.

    Raises:
        BusUnavailable: the broker is unavailable, or reading is forbidden.
    """
    found: dict[str, dict[bytes, Message]] = {name: {} for name in topics}
    for topic, message in messages_of(connection, topics):
        key = message.key() or b""
        if message.value() is None:
            found[topic].pop(key, None)
        else:
            found[topic][key] = message
    return found


def messages_of(connection: Connection, topics: Sequence[str]) -> Iterator[tuple[str, Message]]:
    """Yield the messages of topics of one partition each, in order within a topic, up to their ends.

    Args:
        connection: the broker.
        topics: names without prefix.

    Raises:
        BusUnavailable: the broker is unavailable, or reading is forbidden.
    """
    follower = CompactedTopicReader(connection, topics, fetch_wait_ms=10)
    try:
        waited = 0.0
        while not follower.has_read_all:
            taken = follower.poll(0.25)
            if taken is None:
                waited += 0.25
                if waited == _QUIET_SECONDS:
                    connection.on_wait(f"no answer from a broker at {connection.bootstrap_servers} yet.", "warning")
                if (waited >= TIMEOUT_SECONDS or follower.is_shut_out) and not follower.has_read_all:
                    raise follower.unavailable()
                continue
            waited = 0.0
            yield taken
    finally:
        follower.close()


class CompactedTopicWriter:
    """Writes a few messages and waits for the acknowledgement of each; for commands."""

    def __init__(self, connection: Connection) -> None:
        """Create a producer. Raises BusUnavailable if the client can't use the settings."""
        self._connection = connection
        self._producer = resending_producer(connection, "lanner-writer", queue_bytes=16 << 20)

    def put(self, topic: str, key: bytes, value: bytes | None, headers: Headers) -> None:
        """Write one message and wait until all replicas have it.

        Args:
            topic: name without prefix.
            key: key of the message; it replaces earlier messages with this key.
            value: None to delete the key.
            headers: headers of the message.

        Raises:
            BusUnavailable: the broker is unavailable, or it refused the message.
        """
        name = self._connection.topic(topic)
        (failure,) = deliver(self._producer, [Outgoing(name, key, value, headers)], TIMEOUT_SECONDS)
        if isinstance(failure, MessageRefused):
            raise BusUnavailable(f"topic {name} does not accept the message ({failure})", "make it smaller", patience=0)
        if failure is not None:
            raise failure
