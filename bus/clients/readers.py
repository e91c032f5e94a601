"""Readers that belong to no group: they look at a topic and leave no trace in the broker."""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from confluent_kafka import OFFSET_BEGINNING, OFFSET_END, Consumer, KafkaError, KafkaException, Message, TopicPartition

from bus.connection import Connection, client_config
from bus.errors.client_errors import ClientErrors, ask, unavailable, unusable
from bus.errors.fatal import UNKNOWN_TOPIC_SECONDS, patience_with
from bus.errors.unavailable import BusUnavailable

_NOT_OURS = "reader"
"""librdkafka wants a group's name even where no group is joined."""
_SILENCE_SECONDS = 30.0
"""After so long without a word from a broker that owes messages, it is taken for gone."""


def make_consumer(
    connection: Connection, client_id: str, trouble: ClientErrors | None = None, *, group: str = ""
) -> Consumer:
    """Make a consumer that joins no group and commits nothing; raises BusUnavailable where settings are unusable.

    Args:
        connection: the broker.
        client_id: shown in the broker's logs.
        trouble: told why it can't connect.
        group: full name of the group whose positions are asked for.
    """
    config: dict[str, Any] = client_config(connection, client_id) | {
        "group.id": group or connection.topic(_NOT_OURS),
        "enable.auto.commit": False,
        "enable.auto.offset.store": False,
        "auto.offset.reset": "earliest",
        "fetch.wait.max.ms": 100,
        "queued.max.messages.kbytes": 16 * 1024,
        "enable.partition.eof": True,
        "error_cb": (trouble or ClientErrors(connection)).on_error,
    }
    try:
        return Consumer(config)
    except KafkaException as error:
        raise unusable(error.args[0]) from None


class TopicReader:
    """Reads one topic, all partitions at once, and can tell when everything that there was has been read."""

    def __init__(self, connection: Connection, topic: str, *, since_ms: int | None = None, whole: bool = False) -> None:
        """Begin at a time, at the beginning, or (by default) at what comes from now on.

        Args:
            connection: the broker.
            topic: full name.
            since_ms: wall clock, ms since the epoch.
            whole: from the oldest message that is kept.

        Raises:
            BusUnavailable: no broker, or no such topic.
        """
        self._connection = connection
        trouble = ClientErrors(connection)
        self._consumer = make_consumer(connection, "lanner-reader", trouble)
        try:
            partitions = partitions_of(self._consumer, trouble, topic)
            if since_ms is not None:
                starts = offsets_at(self._consumer, trouble, topic, dict.fromkeys(partitions, since_ms))
            else:
                place = OFFSET_BEGINNING if whole else OFFSET_END
                starts = [TopicPartition(topic, number, place) for number in partitions]
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
        """Whether every partition has been read to its end at least once."""
        return not self._unread

    def poll(self, timeout: float) -> Message | None:
        """Give the next message, or None after so many seconds; waits out a broker that is away.

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

    def close(self) -> None:
        """Let go of the broker."""
        self._consumer.close()


def partitions_of(consumer: Consumer, trouble: ClientErrors, topic: str) -> list[int]:
    """Give the numbers of a topic's partitions, topic by its full name; raises BusUnavailable where there is none."""

    def look(seconds: float) -> Any:
        found = consumer.list_topics(topic, seconds).topics[topic]
        if found.error is not None and found.error.code() != KafkaError.UNKNOWN_TOPIC_OR_PART:
            raise KafkaException(found.error)
        return found

    found = ask(consumer, trouble, look)
    if found.error is not None:
        raise BusUnavailable(
            f"topic {topic} does not exist", "create it by `lanner topics create`", patience=UNKNOWN_TOPIC_SECONDS
        )
    return sorted(found.partitions)


def offsets_at(consumer: Consumer, trouble: ClientErrors, topic: str, times: Mapping[int, int]) -> list[TopicPartition]:
    """Return, for each partition, the first offset that was appended at a time or later; negative where none was.

    Args:
        consumer: without an assignment.
        trouble: of the consumer.
        topic: full name.
        times: by partition, ms since the epoch.

    Raises:
        BusUnavailable: no broker, or it does not say.
    """
    asked = [TopicPartition(topic, number, time) for number, time in times.items()]
    return ask(consumer, trouble, lambda seconds: _whole(consumer.offsets_for_times(asked, timeout=seconds)))


def watermarks(consumer: Consumer, trouble: ClientErrors, topic: str, partition: int) -> tuple[int, int]:
    """Return the first offset that a partition holds and the one behind its last.

    Args:
        consumer: without an assignment.
        trouble: of the consumer.
        topic: full name.
        partition: its number.

    Raises:
        BusUnavailable: no broker, or it does not say.
    """
    place = TopicPartition(topic, partition)
    found: tuple[int, int] = ask(
        consumer, trouble, lambda seconds: consumer.get_watermark_offsets(place, timeout=seconds)
    )
    return found


def _whole(answer: Sequence[TopicPartition]) -> list[TopicPartition]:
    """Raise KafkaException where the answer lacks one of the partitions that were asked for."""
    for each in answer:
        if each.error is not None:
            raise KafkaException(each.error)
    return list(answer)


class SilenceTimeout:
    """Notices that a broker stopped answering while messages are still owed."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._since: float | None = None

    def heard(self) -> None:
        """Take note that something came."""
        self._since = None

    def nothing(self) -> None:
        """Take note that nothing came. Raises BusUnavailable where that has been so for long."""
        # Counted from the first poll in vain: what the caller does between two messages takes as long as it takes.
        if self._since is None:
            self._since = time.monotonic()
        elif time.monotonic() - self._since > _SILENCE_SECONDS:
            raise unavailable(self._connection, KafkaError(KafkaError._TIMED_OUT))  # noqa: SLF001  the client's name


def newest_before(
    connection: Connection, topic: str, positions: Mapping[int, int], count: int, stop: Callable[[], bool]
) -> Iterator[Message]:
    """Give the last messages before a position in each partition, in order within one.

    Args:
        connection: the broker.
        topic: full name.
        positions: partition to the offset at which to stop.
        count: how many a partition at most.
        stop: asked between polls; ends it early.

    Raises:
        BusUnavailable: no broker, or reading is forbidden.
    """
    trouble = ClientErrors(connection)
    consumer = make_consumer(connection, "lanner-look-back", trouble)
    try:
        open_ends = {}
        starts = []
        for partition, end in positions.items():
            low, _ = watermarks(consumer, trouble, topic, partition)
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
                # The end of a partition may come before the position: what was there has been deleted.
                if error.code() == KafkaError._PARTITION_EOF:  # noqa: SLF001  the client's own name for it
                    open_ends.pop(partition, None)
                elif patience_with(error) == 0:
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
    """Give where a group stands in each partition; partitions where it never was are left out.

    Raises:
        BusUnavailable: no broker, or the group is not this client's to see.
    """
    trouble = ClientErrors(connection)
    consumer = make_consumer(connection, "lanner-positions", trouble, group=group)
    asked = [TopicPartition(topic, partition) for partition in partitions]
    try:
        found = ask(consumer, trouble, lambda seconds: _whole(consumer.committed(asked, timeout=seconds)))
    finally:
        consumer.close()
    return {each.partition: each.offset for each in found if each.offset >= 0}
