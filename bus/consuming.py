"""Readers that belong to no group: they look at a topic and leave no trace in the broker."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from confluent_kafka import OFFSET_BEGINNING, OFFSET_END, Consumer, KafkaError, KafkaException, Message, TopicPartition

from bus.connection import Connection, client_config
from bus.errors import BusUnavailable
from bus.trouble import TIMEOUT_SECONDS, Trouble, metadata, unavailable, unusable

_NOT_OURS = "reader"
"""librdkafka wants a group's name even where no group is joined."""


def make_consumer(connection: Connection, client_id: str, trouble: Trouble | None = None) -> Consumer:
    """Make a consumer that joins no group and commits nothing; raises BusUnavailable where settings are unusable.

    trouble: told why it can't connect.
    """
    config: dict[str, Any] = client_config(connection, client_id) | {
        "group.id": connection.topic(_NOT_OURS),
        "enable.auto.commit": False,
        "enable.auto.offset.store": False,
        "auto.offset.reset": "earliest",
        "fetch.wait.max.ms": 100,
        "queued.max.messages.kbytes": 16 * 1024,
        "enable.partition.eof": True,
        "error_cb": (trouble or Trouble(connection)).on_error,
    }
    try:
        return Consumer(config)
    except KafkaException as error:
        raise unusable(error.args[0]) from None


class Reader:
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
        trouble = Trouble(connection)
        self._consumer = make_consumer(connection, "lanner-reader", trouble)
        try:
            partitions = partitions_of(connection, self._consumer, trouble, topic)
            if since_ms is not None:
                asked = [TopicPartition(topic, number, since_ms) for number in partitions]
                starts = self._consumer.offsets_for_times(asked, timeout=TIMEOUT_SECONDS)
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


def partitions_of(connection: Connection, consumer: Consumer, trouble: Trouble, topic: str) -> list[int]:
    """Give the numbers of a topic's partitions, topic by its full name; raises BusUnavailable where there is none."""
    found = metadata(consumer, trouble, topic=topic).topics[topic]
    if found.error is not None:
        if found.error.code() == KafkaError.UNKNOWN_TOPIC_OR_PART:
            raise BusUnavailable(f"topic {topic} does not exist", "create it by `lanner topics create`")
        raise unavailable(connection, found.error)
    return sorted(found.partitions)


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
    consumer = make_consumer(connection, "lanner-look-back")
    try:
        open_ends = {}
        starts = []
        for partition, end in positions.items():
            low, _ = consumer.get_watermark_offsets(TopicPartition(topic, partition), timeout=TIMEOUT_SECONDS)
            if low < end:
                open_ends[partition] = end
                starts.append(TopicPartition(topic, partition, max(low, end - count)))
        consumer.assign(starts)
        while open_ends and not stop():
            message = consumer.poll(1.0)
            if message is None:
                continue
            partition, offset, error = message.partition() or 0, message.offset() or 0, message.error()
            if error is not None:
                # The end of a partition may come before the position: what was there has been deleted.
                if error.code() == KafkaError._PARTITION_EOF:  # noqa: SLF001
                    open_ends.pop(partition, None)
                continue
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
    config: dict[str, Any] = client_config(connection, "lanner-positions")
    consumer = Consumer(config | {"group.id": group, "enable.auto.commit": False})
    try:
        asked = [TopicPartition(topic, partition) for partition in partitions]
        found = consumer.committed(asked, timeout=TIMEOUT_SECONDS)
    except KafkaException as error:
        raise unavailable(connection, error.args[0]) from None
    finally:
        consumer.close()
    return {each.partition: each.offset for each in found if each.offset >= 0}
