"""Read and write compacted topics of one partition each. Following one needs no broker to start."""

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from types import MappingProxyType

from confluent_kafka import OFFSET_BEGINNING, KafkaError, KafkaException, Message, TopicPartition

from bus.clients.errors import TIMEOUT_SECONDS, ClientErrors, MessageRefused, is_forbidden
from bus.clients.producers import Outgoing, deliver, resending_producer
from bus.clients.readers import AssignedConsumer, make_consumer, newest_before, watermarks
from bus.connection import BusUnavailable, Connection
from bus.messages import Headers

_FOLLOW_SECONDS = 0.2
_TAIL_BASE = -2000
"""Offsets below it count from the end. Source: librdkafka, rdkafka.h, RD_KAFKA_OFFSET_TAIL_BASE."""
_QUIET_SECONDS = 2.0
"""After this time without an answer, a command reports that it waits."""


class CompactedTopicReader:
    """Reads several topics from the beginning, then follows them; knows when it has reached their ends."""

    def __init__(
        self,
        connection: Connection,
        topics: Sequence[str],
        *,
        fetch_wait_ms: int = 100,
        newest: Mapping[str, int] = MappingProxyType({}),
    ) -> None:
        """Create a client; it reads from the first poll on.

        Args:
            connection: the broker.
            topics: names without prefix; each has one partition.
            newest: by topic, from how many of its newest messages on it is read; by default, from the beginning.
            fetch_wait_ms: how long the broker delays a request at the end of the topics; a topic without messages is
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
        self._starts = {connection.topic(name): _TAIL_BASE - number for name, number in newest.items()}
        self._is_assigned = False
        self.last_error = ""
        """Why the last poll failed; empty if it did not."""
        self._failure = KafkaError(KafkaError._TIMED_OUT)  # noqa: SLF001  the client's own name for it

    @property
    def has_read_all(self) -> bool:
        """True if every topic has been read to its end at least once."""
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
        """True if the broker rejects this client, or its access to a topic."""
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
        self._consumer.assign([TopicPartition(name, 0, self._starts.get(name, OFFSET_BEGINNING)) for name in names])


def follow(
    reader: CompactedTopicReader,
    stopped: threading.Event,
    take: Callable[[str, Message], object],
    *,
    at_end: Callable[[], object],
    on_error: Callable[[str], object] = lambda _: None,
) -> None:
    """Read topics on a thread of its own, until it is stopped or the loop to which it passes messages is closed.

    Args:
        reader: of the topics; it is closed at the end.
        stopped: ends it.
        take: receives each topic and message.
        at_end: called once all topics have been read to their ends.
        on_error: receives each new reason why they cannot be read.
    """

    def work() -> None:
        is_complete, reported = False, ""
        try:
            while not stopped.is_set():
                taken = reader.poll(_FOLLOW_SECONDS)
                if taken is not None:
                    take(*taken)
                elif reader.has_read_all and not is_complete:
                    is_complete = True
                    at_end()
                if reader.last_error != reported:
                    reported = reader.last_error
                    if reported:
                        on_error(reported)
        except RuntimeError:
            # The loop is closed: this process is shutting down.
            return
        finally:
            reader.close()

    threading.Thread(target=work, name="follower", daemon=True).start()


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


APPLIED = "lanner_applied"
"""The header with the offset of the input partition up to which a record was computed, in decimal digits."""
BEGUN = b"begun"
"""The key of the mark that a partition has been used; it never has a value."""
_BEFORE_ALL = -1


@dataclass(slots=True)
class ChangelogTable:
    """The table of one partition."""

    values: dict[bytes, bytes] = field(default_factory=dict)
    """The newest value of each key, without deleted keys."""
    overtaken: dict[bytes, bytes | None] = field(default_factory=dict)
    """The newest values that an older value follows in the topic: write them again, before compaction drops them."""
    applied: int = _BEFORE_ALL
    """The highest input offset of all records."""
    is_unused: bool = True
    """True if nothing was ever written there."""
    end: int = 0
    """The offset after the last record."""
    _versions: dict[bytes, int] = field(default_factory=dict)

    def take(self, key: bytes, value: bytes | None, applied: int) -> None:
        """Apply one record; call it in the order of the topic."""
        if key == BEGUN:
            return
        if applied < self._versions.get(key, _BEFORE_ALL):
            self.overtaken[key] = self.values.get(key)
            return
        self._versions[key] = applied
        self.applied = max(self.applied, applied)
        self.overtaken.pop(key, None)
        if value is None:
            self.values.pop(key, None)
        else:
            self.values[key] = value


def applied_header(applied: int) -> Headers:
    """Return the header of a record."""
    return [(APPLIED, b"%d" % applied)]


def read_tables(
    connection: Connection, topic: str, partitions: Iterable[int], stop: Callable[[], bool]
) -> dict[int, ChangelogTable]:
    """Read whole partitions of a table.

    Args:
        connection: the broker.
        topic: full name.
        partitions: the partitions to read.
        stop: called between polls; return True to end early.

    Raises:
        BusUnavailable: the broker is unavailable, or reading is forbidden.
    """
    client_errors = ClientErrors(connection)
    consumer = make_consumer(connection, "lanner-table", client_errors)
    found = {partition: ChangelogTable() for partition in partitions}
    try:
        ends = {}
        for partition, table in found.items():
            low, high = watermarks(consumer, client_errors, topic, partition)
            table.is_unused, table.end = high == 0, high
            if low < high:
                ends[partition] = high
    finally:
        consumer.close()
    for message in newest_before(connection, topic, ends, 1 << 62, stop):
        found[message.partition() or 0].take(message.key() or b"", message.value(), applied_of(message))
    return found


def applied_of(message: Message) -> int:
    """Return the input offset in a record's header; -1 if it is missing or invalid."""
    headers = dict(message.headers() or [])
    try:
        return int(headers.get(APPLIED) or b"")
    except ValueError:
        return _BEFORE_ALL


class TableEnds:
    """The ends of the partitions that only this process writes."""

    def __init__(self, ends: Mapping[int, int]) -> None:
        """Start. ends: by partition, the offset after its last record."""
        self._ends = dict(ends)
        self._remade = 0
        self._mended = dict.fromkeys(ends, 0)

    def lacks(self, partition: int, offsets: Iterable[int]) -> bool:
        """Record the offsets of written records, in order; return whether the earlier records are gone.

        Returns True once per partition for each new topic. A reset that one partition's offsets show is reported for
        all partitions, so also for those that are rarely written.
        """
        is_behind = False
        end = self._ends[partition]
        for offset in offsets:
            if offset >= 0:
                is_behind |= offset < end
                end = offset + 1
        if is_behind and self._mended[partition] == self._remade:
            self._remade += 1
        is_lacking = self._mended[partition] != self._remade
        self._mended[partition] = self._remade
        # If the new end is not known yet, assume an empty partition.
        self._ends[partition] = end if is_behind or not is_lacking else 0
        return is_lacking
