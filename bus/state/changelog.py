"""A compacted topic that stores a table, read so that late writes of a former owner do no harm.

A process that hung, or lost its connection, may write its results after another process took over its partition: Kafka
fences its commits, not its messages. So a header of each record holds the offset of the input up to which the state
was computed, and of the records of a key the one with the highest such offset counts, not the last one.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from confluent_kafka import Message

from bus.clients.readers import make_consumer, newest_before, watermarks
from bus.connection import Connection
from bus.errors.client_errors import ClientErrors
from bus.messages.headers import Headers

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
    """Whether nothing was ever written there."""
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
