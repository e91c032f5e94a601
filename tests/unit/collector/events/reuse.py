"""A batch under construction that reuses events as the collector does, and how it is compared with one that doesn't."""

from typing import Any

from collector.events.batch_builder import BatchBuilder
from collector.events.build import EventSource, add_syscall
from collector.events.network_names import LookedUpNames
from collector.events.repeat_cache import RepeatCache
from collector.processes.parts import Credentials
from collector.processes.process import TrackedProcess
from collector.records.decode import decode
from collector.records.types import Syscall
from schemas.batch import STRING_COLUMNS, Process

ORIGIN = EventSource(Process(pid=10), 0, False, {0: "root"}.get, {0: "root"}.get)


class World:
    """What must not have changed for an event to be reused."""

    def __init__(self) -> None:
        self.changes = self.version = 0
        self.entry = TrackedProcess(10, 222, 222, Credentials(1000))


class ReusingBatch:
    """A batch to which records are added as the collector does."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.builder = BatchBuilder()
        self.repeated = RepeatCache(world, world)
        self.looked_up = LookedUpNames(self.repeated.forget)
        self.written: list[tuple[int, int]] = []
        """Inode and time of each event that was reused, as if all were opens for writing."""

    def take(self, record: bytes) -> bool:
        """Add a record; return whether an earlier event was reused."""
        if self.reuse([record], 0):
            return True
        self.add(record)
        return False

    def take_all(self, records: list[bytes]) -> None:
        """Add records, as many at a time as possible."""
        at = 0
        while (at := self.reuse(records, at)) < len(records):
            self.add(records[at])
            at += 1

    def reuse(self, records: list[bytes], start: int, room: int = 1 << 20) -> int:
        """Add records from an index on by reusing events; return the index of the first that was not added."""
        within = range(start, len(records))
        return self.repeated.add(self.builder, records, within, room=room, boot_to_epoch=0)

    def add(self, record: bytes) -> None:
        """Add a record by itself."""
        call = decode(record)
        assert isinstance(call, Syscall)
        names = self.looked_up.reader(call, None)
        event = add_syscall(self.builder, call, ORIGIN, call.who.time, names=names)
        on_write = lambda inode, at: self.written.append((inode, at))  # noqa: E731
        self.repeated.remember(self.builder, record, call, event, self.world.entry, names=names, on_write=on_write)


def reported(builder: BatchBuilder) -> list[Any]:
    """Return each event with texts in place of their indices."""
    columns, strings = builder.columns(), builder.strings
    found: list[Any] = []
    for index in range(builder.count):
        row = {
            name: strings[column[index]] if name in STRING_COLUMNS else column[index]
            for name, column in columns.items()
            if not name.startswith("arg_")
        }
        own = slice(*columns["arg_start"][index : index + 2])
        names, texts = ([strings[at] for at in columns[name][own]] for name in ("arg_name", "arg_value"))
        found.append((row, list(zip(names, texts, columns["arg_raw"][own], strict=True))))
    return found


def assert_reported_alike(records: list[bytes]) -> None:
    """Assert that events are reported as if each were the first of its batch."""
    batch, each = ReusingBatch(World()), ReusingBatch(World())
    batch.take_all(records)
    for record in records:
        each.take(record)
        each.repeated.clear()
    assert reported(batch.builder) == reported(each.builder)
