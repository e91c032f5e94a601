"""Readers outside of consumer groups: they read topics and commit nothing."""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from confluent_kafka import OFFSET_BEGINNING, OFFSET_END, Consumer, KafkaError, KafkaException, Message, TopicPartition

from bus.clients.availability import ConnectionState, close_aside
from bus.clients.errors import UNKNOWN_TOPIC_SECONDS, ClientErrors, ask, patience_with, unavailable, unusable
from bus.connection import BusUnavailable, Connection, client_config

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


_NOT_OURS = "reader"
"""librdkafka requires a group id even if no group is joined."""
_SILENCE_SECONDS = 30.0
"""How long a broker may send nothing while messages are outstanding, before it counts as unavailable."""


def make_consumer(
    connection: Connection,
    client_id: str,
    client_errors: ClientErrors | None = None,
    *,
    group: str = "",
    options: Mapping[str, Any] = MappingProxyType({}),
) -> Consumer:
    """Create a consumer that joins no group and commits nothing by itself.

    Args:
        connection: the broker.
        client_id: shown in the broker's logs.
        client_errors: receives connection errors.
        group: full name of the group whose committed offsets are queried, or that the caller joins.
        options: further settings of the client.

    Raises:
        BusUnavailable: the client can't use the settings.
    """
    config: dict[str, Any] = client_config(connection, client_id) | {
        "group.id": group or connection.topic(_NOT_OURS),
        "enable.auto.commit": False,
        "enable.auto.offset.store": False,
        "auto.offset.reset": "earliest",
        "fetch.wait.max.ms": 100,
        "queued.max.messages.kbytes": 16 * 1024,
        "enable.partition.eof": True,
        "error_cb": (client_errors or ClientErrors(connection)).on_error,
        **options,
    }
    try:
        return Consumer(config)
    except KafkaException as error:
        raise unusable(error.args[0]) from None


class TopicReader:
    """Reads all partitions of one topic, and knows when it has reached their ends."""

    def __init__(
        self,
        connection: Connection,
        topic: str,
        *,
        since_ms: int | None = None,
        whole: bool = False,
        positions: Mapping[int, int] | None = None,
    ) -> None:
        """Start at a time, at the beginning, or (by default) at the end of the topic.

        Args:
            connection: the broker.
            topic: full name.
            since_ms: where to start, wall clock, ms since the epoch.
            whole: whether to start at the oldest retained message.
            positions: by partition, the offset at which to start instead; if it was deleted, at the oldest message.

        Raises:
            BusUnavailable: the broker is unavailable, or there is no such topic.
        """
        self._connection = connection
        client_errors = ClientErrors(connection)
        self._consumer = AssignedConsumer(
            lambda options: make_consumer(connection, "lanner-reader", client_errors, options=options)
        )
        try:
            partitions = partitions_of(self._consumer.client, client_errors, topic)
            if since_ms is not None:
                starts = offsets_at(self._consumer.client, client_errors, topic, dict.fromkeys(partitions, since_ms))
            else:
                start = OFFSET_BEGINNING if whole else OFFSET_END
                starts = [TopicPartition(topic, number, start) for number in partitions]
            known = positions or {}
            starts = [TopicPartition(topic, each.partition, known.get(each.partition, each.offset)) for each in starts]
            self._consumer.assign(starts)
        except KafkaException as error:
            self._consumer.close()
            raise unavailable(connection, error.args[0]) from None
        except BaseException:
            self._consumer.close()
            raise
        self._unread = set(partitions)

    @property
    def has_read_all(self) -> bool:
        """True if every partition has been read to its end at least once."""
        return not self._unread

    def poll(self, timeout: float) -> Message | None:
        """Return the next message, or None after timeout seconds. An unavailable broker is not an error here.

        Raises:
            BusUnavailable: reading is forbidden.
        """
        message = self._consumer.poll(timeout)
        if message is None:
            return None
        error = message.error()
        if error is None:
            return message
        if error.code() == KafkaError._PARTITION_EOF:  # noqa: SLF001  the client's own name for it
            self._unread.discard(message.partition() or 0)
        elif error.code() == KafkaError.TOPIC_AUTHORIZATION_FAILED:
            raise unavailable(self._connection, error)
        return None

    def lag(self) -> dict[int, int]:
        """Return, by partition, the messages after the last one that was read, as the broker last reported them.

        From any thread; empty once the reader is closed.
        """
        found = {}
        try:
            client = self._consumer.client
            for at in client.position(client.assignment()):
                end = client.get_watermark_offsets(at, cached=True)[1]
                # A partition whose position or end is not known yet has a negative one.
                found[at.partition] = max(end - at.offset, 0) if at.offset >= 0 and end >= 0 else 0
        except (KafkaException, RuntimeError):
            return {}
        return found

    def close(self) -> None:
        """Close the connection."""
        self._consumer.close()


def forbids_reading(error: KafkaError) -> bool:
    """Return whether an error in place of a message ends reading permanently.

    The client looks up the coordinator of its group even if it joins none: that it may not join one is no obstacle.
    """
    return error.code() != KafkaError.GROUP_AUTHORIZATION_FAILED and patience_with(error) == 0


def partitions_of(consumer: Consumer, client_errors: ClientErrors, topic: str) -> list[int]:
    """Return the partition numbers of a topic, given by its full name. Raises BusUnavailable if it doesn't exist."""

    def look(seconds: float) -> Any:
        found = consumer.list_topics(topic, seconds).topics[topic]
        if found.error is not None and found.error.code() != KafkaError.UNKNOWN_TOPIC_OR_PART:
            raise KafkaException(found.error)
        return found

    found = ask(consumer, client_errors, look)
    if found.error is not None:
        raise BusUnavailable(
            f"topic {topic} does not exist", "create it with `lanner topics create`", patience=UNKNOWN_TOPIC_SECONDS
        )
    return sorted(found.partitions)


def offsets_at(
    consumer: Consumer, client_errors: ClientErrors, topic: str, times: Mapping[int, int]
) -> list[TopicPartition]:
    """Return, for each partition, the first offset that was appended at a time or later; negative if there is none.

    Args:
        consumer: a consumer without an assignment.
        client_errors: the consumer's errors.
        topic: full name.
        times: by partition, ms since the epoch.

    Raises:
        BusUnavailable: the broker is unavailable or refuses.
    """
    times_by_partition = [TopicPartition(topic, number, time) for number, time in times.items()]
    return ask(
        consumer, client_errors, lambda seconds: _whole(consumer.offsets_for_times(times_by_partition, timeout=seconds))
    )


def watermarks(consumer: Consumer, client_errors: ClientErrors, topic: str, partition: int) -> tuple[int, int]:
    """Return the first offset that a partition contains and the offset after its last.

    Args:
        consumer: a consumer without an assignment.
        client_errors: the consumer's errors.
        topic: full name.
        partition: number of the partition.

    Raises:
        BusUnavailable: the broker is unavailable or refuses.
    """
    requested = TopicPartition(topic, partition)
    found: tuple[int, int] = ask(
        consumer, client_errors, lambda seconds: consumer.get_watermark_offsets(requested, timeout=seconds)
    )
    return found


def _whole(answer: Sequence[TopicPartition]) -> list[TopicPartition]:
    """Return the answer. Raises KafkaException if it has an error for one of the partitions."""
    for each in answer:
        if each.error is not None:
            raise KafkaException(each.error)
    return list(answer)


class SilenceTimeout:
    """Detects that a broker stopped answering while messages are outstanding."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._since: float | None = None

    def heard(self) -> None:
        """Record that a message arrived."""
        self._since = None

    def nothing(self) -> None:
        """Record that a poll returned nothing. Raises BusUnavailable after 30 s of such polls."""
        # Counted from the first empty poll: the caller may take any time between two messages.
        if self._since is None:
            self._since = time.monotonic()
        elif time.monotonic() - self._since > _SILENCE_SECONDS:
            raise unavailable(self._connection, KafkaError(KafkaError._TIMED_OUT))  # noqa: SLF001  the client's name


def newest_before(
    connection: Connection, topic: str, positions: Mapping[int, int], count: int, stop: Callable[[], bool]
) -> Iterator[Message]:
    """Yield the last messages before an offset in each partition, in order within a partition.

    Args:
        connection: the broker.
        topic: full name.
        positions: by partition, the offset at which to stop.
        count: the most messages per partition.
        stop: called between polls; return True to end early.

    Raises:
        BusUnavailable: the broker is unavailable, or reading is forbidden.
    """
    client_errors = ClientErrors(connection)
    consumer = make_consumer(connection, "lanner-look-back", client_errors)
    try:
        open_ends = {}
        starts = []
        for partition, end in positions.items():
            low, _ = watermarks(consumer, client_errors, topic, partition)
            if low < end:
                open_ends[partition] = end
                starts.append(TopicPartition(topic, partition, max(low, end - count)))
        consumer.assign(starts)
        silence = SilenceTimeout(connection)
        while open_ends and not stop():
            message = consumer.poll(1.0)
            if message is None:
                silence.nothing()
                continue
            partition, offset, error = message.partition() or 0, message.offset() or 0, message.error()
            if error is not None:
                # The end of a partition may come before the offset, if messages were deleted since.
                if error.code() == KafkaError._PARTITION_EOF:  # noqa: SLF001  the client's own name for it
                    open_ends.pop(partition, None)
                elif forbids_reading(error):
                    raise unavailable(connection, error)
                continue
            silence.heard()
            stop_at = open_ends.get(partition)
            if stop_at is None:
                continue
            if offset < stop_at:
                yield message
            if offset >= stop_at - 1:
                open_ends.pop(partition)
    except KafkaException as error:
        raise unavailable(connection, error.args[0]) from None
    finally:
        consumer.close()


def committed(connection: Connection, group: str, topic: str, partitions: Iterable[int]) -> dict[int, int]:
    """Return the committed offset of a group in each partition that has one.

    Raises:
        BusUnavailable: the broker is unavailable, or this client may not see the group.
    """
    client_errors = ClientErrors(connection)
    consumer = make_consumer(connection, "lanner-positions", client_errors, group=group)
    requested = [TopicPartition(topic, partition) for partition in partitions]
    try:
        found = ask(consumer, client_errors, lambda seconds: _whole(consumer.committed(requested, timeout=seconds)))
    finally:
        consumer.close()
    return {each.partition: each.offset for each in found if each.offset >= 0}
