"""Keeps an archive small: merges the files of an hour that is over, and deletes what is older or more than is to stay.

A merged file is complete before the files that it replaces are deleted, and readers ignore those as soon as they see
it: without_replaced. They are deleted at the next look, so that most queries that are under way can still read them.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from foundation.text import OnNote
from lanner.archive.files import (
    HOUR_MS,
    AlreadyStored,
    ArchiveFile,
    ArchiveFiles,
    dictionaries,
    end_of,
    reading,
    store,
    without_replaced,
)
from lanner.archive.schema import DATASETS
from schemas.encoding.batch import BadBatch

if TYPE_CHECKING:
    from lanner.archive.iceberg import ArchiveTables

_ROWS = 32_000
"""Rows of a row group, which are in memory at once: some 60 MiB."""
_SETTLED_MS = HOUR_MS // 4
"""How long after its end an hour's files are merged: messages may be buffered until then."""
_DAY_MS = 24 * HOUR_MS
_GROUP_ORDER = ("host_id", "time", "partition", "offset", "index")


@dataclass(slots=True)
class UpkeepCounts:
    """What was done since the start."""

    merged: int = 0
    """Files that were replaced by larger ones."""
    deleted: int = 0
    """Files that were too old, or too many."""
    bytes: int = 0
    """The size of the archive at the last look."""
    files: int = 0
    oldest: int = 0
    """The timestamp of the oldest message, ms since the epoch; 0 without files."""


class Upkeep:
    """Merges and deletes the files of an archive. Several processes may do so at the same time."""

    def __init__(
        self, files: ArchiveFiles, note: OnNote, *, max_days: int, max_bytes: int, tables: "ArchiveTables | None" = None
    ) -> None:
        """Take an archive.

        Args:
            files: the archive.
            note: receives which files are damaged.
            max_days: files whose hour is older are deleted; 0 for no limit.
            max_bytes: the oldest files are deleted beyond this size; 0 for no limit.
            tables: which refer to the files; None if there are none.
        """
        self.counts = UpkeepCounts()
        self.failure = ""
        """Why the last look failed; empty if it didn't."""
        self._files = files
        self._note = note
        self._max_days = max_days
        self._max_bytes = max_bytes
        self._tables = tables
        self._damaged: set[str] = set()

    def look(self, now: int) -> None:
        """Do what is due. now: ms since the epoch. Raises OSError if the archive can't be read or written to."""
        # Before the files are listed: a commit is refused if another process has merged or deleted some since.
        states = {} if self._tables is None else self._tables.read()
        listed = {dataset: without_replaced(self._files.all(dataset)) for dataset in DATASETS}
        outdated = {each.path: each for current, _ in listed.values() for each in self._too_old(current, now)}
        present = [each for current, _ in listed.values() for each in current if each.path not in outdated]
        outdated |= {each.path: each for each in self._too_many(present)}
        retained = {
            dataset: [each for each in current if each.path not in outdated] for dataset, (current, _) in listed.items()
        }
        self._count([each for files in retained.values() for each in files])
        for dataset, state in states.items():
            if self._tables is not None:
                self._tables.commit(dataset, state, retained[dataset], now)
        # What a table referred to is deleted by a later look: queries may be reading it.
        referred = {path for state in states.values() for path in state.files}
        for each in (each for _, replaced in listed.values() for each in replaced if each.path not in referred):
            self._delete(each)
            self.counts.merged += 1
        for each in (each for path, each in outdated.items() if path not in referred):
            self._delete(each)
            self.counts.deleted += 1
        for dataset, files in retained.items():
            for parts in _mergeable(files, now):
                self._merge(dataset, parts)

    def _too_old(self, files: Sequence[ArchiveFile], now: int) -> Iterator[ArchiveFile]:
        """Yield the files that are too old, but not the newest of a partition, which states where to continue."""
        newest = {each.partition: each for each in files}
        for each in files:
            is_old = self._max_days and each.hour + HOUR_MS < now - self._max_days * _DAY_MS
            if is_old and newest[each.partition] is not each:
                yield each

    def _too_many(self, files: Sequence[ArchiveFile]) -> Iterator[ArchiveFile]:
        """Yield the files of the oldest hours, until the others are within the limit."""
        size = sum(each.size for each in files)
        newest = max((each.hour for each in files), default=0)
        for each in sorted(files, key=lambda each: each.hour):
            if not self._max_bytes or size <= self._max_bytes or each.hour == newest:
                return
            yield each
            size -= each.size

    def _count(self, files: Sequence[ArchiveFile]) -> None:
        self.counts.bytes, self.counts.files = sum(each.size for each in files), len(files)
        self.counts.oldest = min((each.appended for each in files), default=0)

    def _delete(self, file: ArchiveFile) -> None:
        try:
            self._files.system.delete_file(file.path)
        except FileNotFoundError:
            # Another process was faster.
            return

    def _merge(self, dataset: str, files: Sequence[ArchiveFile]) -> None:
        if any(each.path in self._damaged for each in files):
            return
        try:
            end = max(end_of(self._files, each) for each in files)
            rows = _ordered(self._files, dataset, files)
            bounds = (files[0].partition, files[0].first, end)
            store(self._files, dataset, bounds, files[0].appended, rows, is_compacted=True)
        except (AlreadyStored, FileNotFoundError):
            # Another process was faster.
            return
        except BadBatch as error:
            self._note(f"{error}: the files of this hour stay as they are.", "warning")
            self._damaged |= {each.path for each in files}


def _mergeable(files: Sequence[ArchiveFile], now: int) -> Iterator[list[ArchiveFile]]:
    """Yield the files to merge: those of one hour and partition, if there are several."""
    found: dict[tuple[int, int], list[ArchiveFile]] = {}
    for each in files:
        if each.hour + HOUR_MS + _SETTLED_MS <= now:
            found.setdefault((each.hour, each.partition), []).append(each)
    yield from (each for each in found.values() if len(each) > 1)


def _ordered(files: ArchiveFiles, dataset: str, parts: Sequence[ArchiveFile]) -> Iterator[pa.Table]:
    """Yield the rows of files by host and time. Each file is ordered, so few of its row groups are read each time."""
    names = [name for name in _GROUP_ORDER if name in DATASETS[dataset].names]
    counts: dict[str, int] = {}
    for each in parts:
        for host, number in _hosts(files, each):
            counts[host] = counts.get(host, 0) + number
    for first, last, number in _ranges(counts):
        where = (pc.field("host_id") >= first) & (pc.field("host_id") <= last)
        for each in _slices(files, parts, where, "time" if "time" in names else "offset", number):
            # One of another release, or for a table, has other columns.
            read = [_columns(files, part, None, each) for part in parts]
            found = pa.concat_tables(read, promote_options="permissive").combine_chunks()
            keys = pa.table([_plain(found[name]) for name in names], names)
            yield found.take(pc.sort_indices(keys, [(name, "ascending") for name in names]))


def _slices(files: ArchiveFiles, parts: Sequence[ArchiveFile], where: Any, column: str, number: int) -> Iterator[Any]:
    """Yield the conditions of the row groups of some hosts: several for one host with many rows."""
    bounds: list[Any] = [None, None]
    if number > _ROWS:
        values = pa.concat_arrays([_columns(files, part, [column], where)[column].combine_chunks() for part in parts])
        values = values.take(pc.sort_indices(values))
        bounds[1:1] = dict.fromkeys(values[at] for at in range(_ROWS, number, _ROWS))
    yield from (_within(where, column, *pair) for pair in pairwise(bounds))


def _within(where: Any, column: str, start: Any, end: Any) -> Any:
    if start is not None:
        where &= pc.field(column) >= start
    return where if end is None else where & (pc.field(column) < end)


def _plain(column: pa.ChunkedArray) -> pa.ChunkedArray:
    return column.cast(pa.string()) if pa.types.is_dictionary(column.type) else column


def _columns(files: ArchiveFiles, file: ArchiveFile, names: list[str] | None, where: Any = None) -> pa.Table:
    with reading(file), files.system.open_input_file(file.path) as opened:
        texts = dictionaries(pq.read_schema(opened))
        opened.seek(0)
        return pq.read_table(opened, columns=names, filters=where, read_dictionary=texts)


def _hosts(files: ArchiveFiles, file: ArchiveFile) -> Iterator[tuple[str, int]]:
    counted = pc.value_counts(_columns(files, file, ["host_id"])["host_id"].cast(pa.string()))
    for each in counted.to_pylist():
        yield each["values"], each["counts"]


def _ranges(counts: dict[str, int]) -> Iterator[tuple[str, str, int]]:
    """Yield ranges of hosts, each with about as many rows as a row group, or with one host."""
    group: list[str] = []
    number = 0
    for host in sorted(counts, key=str.encode):
        if group and number + counts[host] > _ROWS:
            yield group[0], group[-1], number
            group, number = [], 0
        group.append(host)
        number += counts[host]
    if group:
        yield group[0], group[-1], number
