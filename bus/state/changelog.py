"""A compacted topic that keeps a table, read so that a writer who comes late does no harm.

A process that hung, or that was cut off, may write what it had computed after another took its partition over; Kafka
fences its commits, not its messages. So each record says in a header how far the stream that the state is a function
of had been applied, and of a key's records the one that had got farthest counts, not the one that came last.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from confluent_kafka import Message

from bus.clients.readers import make_consumer, newest_before, watermarks
from bus.connection import Connection
from bus.errors.client_errors import ClientErrors
from bus.messages.headers import Headers

APPLIED = "lanner_applied"
"""The offset up to which the source's partition is in a record, in decimal digits."""
BEGUN = b"begun"
"""The key of the mark that a partition has been in use; its value is always none."""
_BEFORE_ALL = -1


@dataclass(slots=True)
class ChangelogTable:
    """One partition."""

    values: dict[bytes, bytes] = field(default_factory=dict)
    """The newest value of each key; keys that were deleted are left out."""
    overtaken: dict[bytes, bytes | None] = field(default_factory=dict)
    """The newest values after which older ones were written: to be written again, before compaction drops them."""
    applied: int = _BEFORE_ALL
    """The greatest of all records."""
    is_unused: bool = True
    """Nothing was ever written there."""
    end: int = 0
    """The offset behind the last record."""
    _versions: dict[bytes, int] = field(default_factory=dict)

    def take(self, key: bytes, value: bytes | None, applied: int) -> None:
        """Take one record, in the order of the topic."""
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
    """Give the header of a record."""
    return [(APPLIED, b"%d" % applied)]


def read_tables(
    connection: Connection, topic: str, partitions: Iterable[int], stop: Callable[[], bool]
) -> dict[int, ChangelogTable]:
    """Read partitions of a table from end to end.

    Args:
        connection: the broker.
        topic: full name.
        partitions: which ones.
        stop: asked between polls; ends it early.

    Raises:
        BusUnavailable: no broker, or reading is forbidden.
    """
    trouble = ClientErrors(connection)
    consumer = make_consumer(connection, "lanner-table", trouble)
    found = {partition: ChangelogTable() for partition in partitions}
    try:
        ends = {}
        for partition, table in found.items():
            low, high = watermarks(consumer, trouble, topic, partition)
            table.is_unused, table.end = high == 0, high
            if low < high:
                ends[partition] = high
    finally:
        consumer.close()
    for message in newest_before(connection, topic, ends, 1 << 62, stop):
        found[message.partition() or 0].take(message.key() or b"", message.value(), applied_of(message))
    return found


def applied_of(message: Message) -> int:
    """Give what a record's header says; less than all others where it says nothing that can be read."""
    told = dict(message.headers() or [])
    try:
        return int(told.get(APPLIED) or b"")
    except ValueError:
        return _BEFORE_ALL
