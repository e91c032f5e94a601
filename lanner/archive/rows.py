"""Makes rows of event batches: Arrow tables in the schema of events, sorted by host and time.

A batch refers to tables of texts, processes and containers; a row has all that an event refers to. The work is done by
column for many batches at once, and texts are compared once for each batch, not for each row.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np
import pyarrow as pa

from foundation.errors import LannerError
from lanner.archive.schema import (
    CONTAINER_FLAGS,
    CONTAINER_TEXTS,
    EVENT_TEXTS,
    EVENTS,
    IDENTITY,
    MISSING_NUMBERS,
    NUMBERS,
    PROCESS,
    SERVER_LISTS,
    SERVER_TEXTS,
    Lineages,
    archived_text,
)
from lanner.recorder.store import StoredBatch
from schemas.batch import (
    ARGUMENT_COLUMNS,
    EVENT_COLUMNS,
    FILE_FACTS,
    STRING_COLUMNS,
    Container,
    EventBatch,
    NetworkServer,
    ProgramFile,
)
from schemas.encoding.columns import (
    FILES,
    KNOWN_BITS,
    LISTS,
    PROCESS_COLUMNS,
    SERVER,
    TEXTS,
    numbered_files,
    pack_processes,
)
from schemas.encoding.limits import TextTable

MAX_ROW_BYTES = 512 << 20
"""Limit of the rows of a message, whose size is up to 4 MiB: each of a hostile batch's 100,000 events may refer to the
same huge texts. Rows of an honest one take some ten times its size."""
_TABLE_BYTES = 64 << 20
"""Limit of the rows of a table, estimated without the compression by dictionaries."""
Numbers = np.ndarray[Any, Any]


@dataclass(frozen=True, slots=True)
class ArchivedBatch:
    """A batch and the place of its message."""

    stored: StoredBatch
    partition: int
    offset: int


def tables(batches: Sequence[ArchivedBatch]) -> Iterator[pa.Table]:
    """Yield the rows of all events of batches, ordered by host and time.

    The columns of texts are dictionaries that have only the texts of the table, so they can be written as they are.
    Raises ExcessiveBatch for one whose rows would be too large; call it again without it.
    """
    events = _Events(batches)
    if not events.count:
        return
    sizes = events.sizes()
    order = events.order()
    total = np.cumsum(sizes[order])
    start = 0
    while start < events.count:
        before = total[start - 1] if start else 0
        end = max(int(np.searchsorted(total, before + _TABLE_BYTES)), start + 1)
        yield events.table(order[start:end])
        start = end


class ExcessiveBatch(LannerError):
    """The rows of a batch would be too large."""

    def __init__(self, batch: ArchivedBatch, size: int) -> None:
        super().__init__(f"its events would take {size >> 20} MiB as rows; the limit is {MAX_ROW_BYTES >> 20} MiB")
        self.batch = batch


class Columns:
    """The texts that a table refers to, and columns of them."""

    def __init__(self) -> None:
        self.texts = TextTable([None])

    def of(self, indices: Numbers) -> pa.Array:
        """Return a column of texts by their indices, null for 0."""
        used = np.zeros(len(self.texts.texts), np.bool_)
        used[indices] = True
        used[0] = False
        values = [archived_text(self.texts.texts[index]) for index in np.flatnonzero(used)]
        places = (np.cumsum(used, dtype=np.int32) - np.int32(1))[indices]
        return pa.DictionaryArray.from_arrays(
            pa.array(places, mask=indices == 0), pa.array(values, pa.string()), safe=False
        )

    def of_texts(self, texts: Sequence[str | None]) -> pa.Array:
        """Return a column of texts."""
        return self.of(np.fromiter(map(self.texts.__getitem__, texts), np.int32, len(texts)))

    def of_lists(self, lists: Sequence[Sequence[str] | None]) -> pa.Array:
        """Return a column of lists of texts."""
        return _lists(lists, self.of_texts([text for each in lists for text in each or ()]))


def _lists(lists: Sequence[Sequence[Any] | None], values: pa.Array) -> pa.Array:
    sizes = np.fromiter((len(each or ()) for each in lists), np.int32, len(lists))
    return of_sizes(sizes, values, np.fromiter((each is None for each in lists), np.bool_, len(lists)))


def of_sizes(sizes: Numbers, values: pa.Array, missing: Numbers | None = None) -> pa.ListArray:
    """Return a column of lists from their sizes and all their values."""
    offsets = np.zeros(len(sizes) + 1, np.int32)
    np.cumsum(sizes, out=offsets[1:])
    mask = None if missing is None else pa.array(missing)
    return pa.ListArray.from_arrays(pa.array(offsets), values, mask=mask)


class _Events:
    """The columns of all events of some batches."""

    def __init__(self, batches: Sequence[ArchivedBatch]) -> None:
        self._batches = [each for each in batches if each.stored.batch.count]
        self._columns = Columns()
        self.lineages = Lineages()
        inner = [each.stored.batch for each in self._batches]
        counts = np.fromiter((each.count for each in inner), np.int64, len(inner))
        self.count = int(counts.sum())
        if not self.count:
            return
        self._batch = np.repeat(np.arange(len(inner)), counts)
        self._index = np.concatenate([np.arange(each.count, dtype=np.int32) for each in inner])
        self._numbers = {
            name: np.concatenate([_column(each, name) for each in inner])
            for name in EVENT_COLUMNS
            if name not in STRING_COLUMNS
        }
        self._read_texts(inner)
        self._read_processes(inner)

    def sizes(self) -> Numbers:
        """Return what each event takes as a row, bytes. Raises ExcessiveBatch."""
        lengths = np.fromiter(map(len, self._columns.texts.texts), np.int64)
        found = np.fromiter(self.lineages.sizes, np.int64)[self.lineage]
        for name in STRING_COLUMNS:
            found += lengths[self._texts[name]]
        of_arguments = np.concatenate(([0], np.cumsum(lengths[self._argument_values])))
        bounds = np.concatenate(([0], np.cumsum(self._argument_counts)))
        found += np.diff(of_arguments[bounds])
        totals = np.bincount(self._batch, found)
        if totals.max() > MAX_ROW_BYTES:
            raise ExcessiveBatch(self._batches[int(totals.argmax())], int(totals.max()))
        return found

    def order(self) -> Numbers:
        """Return the order of the rows: by host, time, and place in the topic."""
        hosts = [each.stored.batch.host_id for each in self._batches]
        ranks = {host: rank for rank, host in enumerate(sorted(set(hosts)))}
        rank = np.fromiter((ranks[host] for host in hosts), np.int64, len(hosts))[self._batch]
        places = [(each.partition, each.offset) for each in self._batches]
        place = np.empty(len(places), np.int64)
        place[sorted(range(len(places)), key=places.__getitem__)] = np.arange(len(places))
        return np.lexsort((self._index, place[self._batch], self._numbers["time"], rank))

    def table(self, order: Numbers) -> pa.Table:
        """Return some rows."""
        batches = [each.stored.batch for each in self._batches]
        batch, of = self._batch[order], self._columns
        found: dict[str, Any] = {
            "time": pa.array(self._numbers["time"][order]).cast(pa.timestamp("ns")),
            "appended": _of_batches([each.stored.appended for each in self._batches], batch).cast(pa.timestamp("ms")),
            "partition": _of_batches([each.partition for each in self._batches], batch).cast(pa.int32()),
            "offset": _of_batches([each.offset for each in self._batches], batch),
            "index": pa.array(self._index[order]),
            "arguments": self._arguments.take(pa.array(order)),
        }
        for name in IDENTITY:
            values = [getattr(each, name) for each in batches]
            if name in ("host_id", "hostname", "boot_id"):
                indices = np.fromiter(map(of.texts.__getitem__, values), np.int32, len(values))
                found[name] = of.of(indices[batch])
            else:
                found[name] = _of_batches(values, batch)
        numbers = [each.numbers or range(each.first_number, each.first_number + each.count) for each in batches]
        found["number"] = pa.array(np.concatenate([np.asarray(each, np.int64) for each in numbers])[order])
        for name in EVENT_TEXTS:
            found[name] = of.of(self._texts[name][order])
        facts = [of.texts.texts[index] if index else None for index in self._texts["fd_file"][order]]
        found["fd_file"] = of.of_lists([None if text is None else text.split("\0", len(FILE_FACTS)) for text in facts])
        for name in NUMBERS:
            column, missing = self._numbers[name][order], MISSING_NUMBERS.get(name)
            found[name] = pa.array(column, mask=None if missing is None else column == missing)
        found |= self._of_processes(order)
        return pa.Table.from_arrays([found[name] for name in EVENTS.names], EVENTS.names)

    def _of_processes(self, order: Numbers) -> dict[str, Any]:
        process, lineage = self._process[order], pa.array(self.lineage[order])
        own = self._processes.take(pa.array(process))
        found = {f"proc_{own.type[at].name}": each for at, each in enumerate(own.flatten())}
        for name, rows in self._related.items():
            found[name] = _taken(rows.take(lineage), self._processes)
        container = self._container[process]
        own = self._containers.take(pa.array(container, mask=container < 0))
        found |= {f"container_{own.type[at].name}": each for at, each in enumerate(own.flatten())}
        del found["container_row"]
        found["containers"] = _taken(self._others.take(lineage), self._containers)
        return found

    def _read_texts(self, batches: Sequence[EventBatch]) -> None:
        texts = self._columns.texts
        maps = [np.fromiter(map(texts.__getitem__, each.strings), np.int32, len(each.strings)) for each in batches]
        pairs = list(zip(batches, maps, strict=True))
        self._texts = {name: np.concatenate([to[_column(each, name)] for each, to in pairs]) for name in STRING_COLUMNS}
        names, values = (
            np.concatenate([to[_column(each, name)] for each, to in pairs]) for name in ("arg_name", "arg_value")
        )
        raw = np.concatenate([_column(each, "arg_raw") for each in batches])
        sizes = np.concatenate([np.diff(_column(each, "arg_start").astype(np.int64)) for each in batches])
        made = [self._columns.of(names), self._columns.of(values), pa.array(raw)]
        self._argument_values, self._argument_counts = values, sizes
        self._arguments = of_sizes(sizes, pa.StructArray.from_arrays(made, ["name", "value", "raw"]))

    def _read_processes(self, batches: Sequence[EventBatch]) -> None:
        """Read the processes of all batches, numbered throughout; likewise the containers."""
        files, numbers = numbered_files(chain.from_iterable(each.processes for each in batches))
        servers: dict[NetworkServer | None, int] = {None: 0}
        for batch in batches:
            for process in batch.processes:
                servers.setdefault(process.server, len(servers))
        packed = [pack_processes(each.processes, self._columns.texts, numbers, servers) for each in batches]
        sizes = [len(each.processes) for each in batches]
        starts = np.concatenate(([0], np.cumsum(sizes)))
        containers = np.concatenate(([0], np.cumsum([len(each.containers) for each in batches])))
        self._process = self._numbers["process"].astype(np.int64) + starts[self._batch]
        used, self.lineage = np.unique(self._process, return_inverse=True)
        owners = np.searchsorted(starts, used, "right") - 1
        for row, owner in zip(used.tolist(), owners.tolist(), strict=True):
            first = int(starts[owner])
            self.lineages.add(batches[owner], row - first, first, int(containers[owner]))
        columns = self._columns
        self._processes = _processes(packed, sizes, columns, _files(files, columns), _servers(list(servers), columns))
        self._related = {
            name: _lists(rows, pa.array([row for each in rows for row in each], pa.int64()))
            for name, rows in (("ancestors", self.lineages.ancestors), ("relatives", self.lineages.relatives))
        }
        others = self.lineages.containers
        self._others = _lists(others, pa.array([row for each in others for row in each], pa.int64()))
        self._containers = _containers([each.containers for each in batches], columns)
        own = np.concatenate([_packed(each, "container", size) for each, size in zip(packed, sizes, strict=True)])
        self._container = np.where(own < 0, -1, own + np.repeat(containers[:-1], sizes))


def _column(batch: EventBatch, name: str) -> Numbers:
    code = EVENT_COLUMNS.get(name) or ARGUMENT_COLUMNS[name]
    return np.frombuffer(batch.columns[name], np.dtype(code))  # type: ignore[call-overload, no-any-return]


def _packed(columns: Mapping[str, bytes], name: str, count: int) -> Numbers:
    """Return a column of processes; one without bytes is all 0."""
    code = np.dtype(PROCESS_COLUMNS[name])
    return np.frombuffer(columns[name], code) if columns[name] else np.zeros(count, code)


def _of_batches(values: Sequence[int], batch: Numbers) -> pa.Array:
    return pa.array(np.fromiter(values, np.int64, len(values))[batch])


def _taken(rows: pa.ListArray, table: pa.StructArray) -> pa.ListArray:
    """Replace row numbers by rows of a table."""
    return of_sizes(rows.value_lengths().to_numpy(zero_copy_only=False), table.take(rows.flatten()))


def _files(files: Sequence[ProgramFile | None], columns: Columns) -> pa.StructArray:
    names = (*(name for name in FILE_FACTS if name != "written_at"), "path")
    made = {name: columns.of_texts([None if file is None else getattr(file, name) for file in files]) for name in names}
    made["written_at"] = pa.array([file and file.written_at for file in files], pa.int64())
    ordered = (*names[:-1], "written_at", "path")
    missing = pa.array([file is None for file in files])
    return pa.StructArray.from_arrays([made[name] for name in ordered], list(ordered), mask=missing)


def _servers(servers: Sequence[NetworkServer | None], columns: Columns) -> pa.StructArray:
    def values(name: str) -> list[Any]:
        return [None if server is None else getattr(server, name) for server in servers]

    made = {name: columns.of_lists(values(name)) for name in SERVER_LISTS}
    made |= {name: columns.of_texts(values(name)) for name in SERVER_TEXTS}
    missing = pa.array([server is None for server in servers])
    return pa.StructArray.from_arrays([*made.values()], [*made], mask=missing)


def _processes(
    packed: Sequence[Mapping[str, bytes]],
    sizes: Sequence[int],
    columns: Columns,
    files: pa.StructArray,
    servers: pa.StructArray,
) -> pa.StructArray:
    def numbers(name: str) -> Numbers:
        return np.concatenate([_packed(each, name, size) for each, size in zip(packed, sizes, strict=True)])

    known = numbers("known")
    found: dict[str, Any] = {"row": pa.array(np.concatenate([np.arange(size, dtype=np.int32) for size in sizes]))}
    for name, kind in PROCESS.items():
        missing = known & KNOWN_BITS[name] == 0 if name in KNOWN_BITS else None
        if name in LISTS:
            raw = b"".join(each[name] for each in packed)
            found[name] = of_sizes(numbers(LISTS[name]), columns.of(np.frombuffer(raw, np.int32)), missing)
        elif name in TEXTS:
            found[name] = columns.of(numbers(name))
        elif name in FILES:
            found[name] = files.take(pa.array(numbers(name)))
        elif name == SERVER:
            found[name] = servers.take(pa.array(numbers(name)))
        elif name != "row":
            values = numbers(name)
            is_flag = pa.types.is_boolean(kind)
            found[name] = pa.array(values.astype(np.bool_) if is_flag else values, mask=missing)
    return pa.StructArray.from_arrays([found[name] for name in PROCESS], list(PROCESS))


def _containers(tables_: Sequence[Sequence[Container]], columns: Columns) -> pa.StructArray:
    rows = [each for table in tables_ for each in table]
    found: dict[str, Any] = {"row": pa.array([row for table in tables_ for row in range(len(table))], pa.int32())}
    for name in CONTAINER_TEXTS:
        found[name] = columns.of_texts([getattr(each, name) for each in rows])
    for name in CONTAINER_FLAGS:
        found[name] = pa.array([getattr(each, name) for each in rows], pa.bool_())
    found["start_ts"] = pa.array([each.start_ts for each in rows], pa.int64())
    mounts = [mount for each in rows for mount in each.mounts or ()]
    parts = ("source", "dest", "mode", "propagation")
    texts = [columns.of_texts([getattr(mount, part) for mount in mounts]) for part in parts]
    made = pa.StructArray.from_arrays([*texts, pa.array([each.rw for each in mounts], pa.bool_())], [*parts, "rw"])
    found["mounts"] = _lists([each.mounts for each in rows], made)
    for name in ("labels", "pod_labels"):
        lists = [getattr(each, name) for each in rows]
        keys, values = (columns.of_texts([pair[at] for each in lists for pair in each or ()]) for at in (0, 1))
        found[name] = _lists(lists, pa.StructArray.from_arrays([keys, values], ["key", "value"]))
    return pa.StructArray.from_arrays(list(found.values()), list(found))
