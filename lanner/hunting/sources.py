"""Where hunts read events: the files of an archive, or batches of a recording or the topic, as tables of DuckDB."""

import tempfile
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import duckdb
import pyarrow as pa
from pyarrow import dataset, fs, parquet
from sqlglot import exp

from lanner.archive.alerts import ArchivedAlert, alert_rows
from lanner.archive.files import ArchiveFile, ArchiveFiles, conformed, dictionaries, metadata_of
from lanner.archive.rows import ArchivedBatch, tables
from lanner.archive.schema import ALERTS, DATASETS, EVENTS, PROCESS
from lanner.archive.store import beginning
from lanner.errors import BadInput
from lanner.hunting.columns import ANCESTORS, DIALECT
from lanner.recorder.store import EventRange, EventStore, Reading, StoredBatch
from schemas.encoding.batch import BadBatch

Stop = Callable[[], bool]
_CHUNK_EVENTS = 50_000
_CHUNK_BYTES = 256 << 20
_BLOCK_ROWS = 8192
_PLACES = "places"
_EARLIER_MS, _LATER_MS = 600_000, 86_400_000
"""How long before and after a time its events may have arrived: clocks differ, and a host without a broker sends its
events later."""


@dataclass(frozen=True, slots=True)
class Chunk:
    """Events that are read together, in the columns of the archive."""

    rows: pa.Table | dataset.Dataset | None = None
    files: Sequence[str] = ()
    """Local files, instead of rows."""
    share: float = 1.0
    """How much has been read with it, from 0 to 1."""
    parts: tuple["Chunk", ...] = ()
    """Its files, each by itself, if it has several."""
    name: str = ""
    """The file that it is, for messages."""

    def bind(self, connection: duckdb.DuckDBPyConnection, name: str, *, alike: bool = False) -> None:
        """Make it a table of a connection.

        Args:
            connection: whose table it is.
            name: its name.
            alike: a query may fail if one of several files lacks a column that the first has; the files are then read
                one by one. To compare their columns before takes longer than most hunts.
        """
        if self.rows is None:
            rows = connection.read_parquet(list(self.files), hive_partitioning=False, union_by_name=not alike)
            if set(EVENTS.names) <= set(rows.columns):
                rows.create_view(name)
            else:
                # An earlier release wrote them, without columns that were added.
                connection.register(name, dataset.dataset(list(self.files), schema=EVENTS, format="parquet"))
        else:
            connection.register(name, self.rows)

    def bind_columns(
        self, connection: duckdb.DuckDBPyConnection, name: str, columns: Collection[str], may: exp.Expr
    ) -> None:
        """Make some columns a table of a connection, which can be read once.

        DuckDB reads all columns of a list of structures, of which ancestors have ninety; PyArrow reads single ones.

        Args:
            connection: whose table it is.
            name: its name.
            columns: columns of the archive, and of the processes in them, such as ``ancestors.name``.
            may: which events are read, by other columns. Parts of files without them are left out.
        """
        chosen = connection.read_parquet(list(self.files), filename=True, file_row_number=True, hive_partitioning=False)
        if not set(EVENTS.names) <= set(chosen.columns):
            self.bind(connection, name, alike=True)
            return
        chosen.create_view(_PLACES)
        block = exp.IntDiv(this=exp.column("file_row_number"), expression=exp.Literal.number(_BLOCK_ROWS))
        query = exp.select("filename", exp.alias_(block, "block")).distinct().from_(_PLACES).where(may)
        blocks: dict[str, list[int]] = {}
        for path, number in connection.execute(query.sql(DIALECT, copy=False)).fetchall():
            blocks.setdefault(path, []).append(number)
        rows = pa.RecordBatchReader.from_batches(_schema(columns), _batches(blocks, columns))
        connection.register(name, rows)


def _schema(columns: Collection[str]) -> pa.Schema:
    """Return the schema of some columns, with some of those of ancestors; texts are dictionaries."""
    fields = [pa.field(each.name, _coded(each.type)) for each in EVENTS if each.name in columns]
    names = [name for name in PROCESS if f"{ANCESTORS}.{name}" in columns]
    ancestors = pa.list_(pa.struct([(name, _coded(PROCESS[name])) for name in names]))
    return pa.schema([*fields, pa.field(ANCESTORS, ancestors)])


def _coded(kind: pa.DataType) -> pa.DataType:
    """Return a type whose texts are numbers of a dictionary, as they are in files."""
    if pa.types.is_list(kind):
        return pa.list_(_coded(kind.value_type))
    if pa.types.is_struct(kind):
        return pa.struct([pa.field(each.name, _coded(each.type)) for each in kind])
    return pa.dictionary(pa.int32(), kind) if pa.types.is_string(kind) else kind


def _batches(blocks: Mapping[str, Sequence[int]], columns: Collection[str]) -> Iterator[pa.RecordBatch]:
    """Yield the columns of the row groups that have some of the blocks of files."""
    schema = _schema(columns)
    names = [each.replace(".", ".list.element.", 1) for each in columns]
    texts = [
        each for each in dictionaries(EVENTS) if any(each == name or each.startswith(f"{name}.") for name in names)
    ]
    for path, numbers in blocks.items():
        with _opened(path, texts) as file:
            end = 0
            for at in range(file.num_row_groups):
                start, end = end, end + file.metadata.row_group(at).num_rows
                if any(start < (each + 1) * _BLOCK_ROWS and each * _BLOCK_ROWS < end for each in numbers):
                    yield from conformed(file.read_row_group(at, names, use_threads=False), schema).to_batches()


def _opened(path: str, texts: Sequence[str]) -> parquet.ParquetFile:
    try:
        return parquet.ParquetFile(path, read_dictionary=texts)
    except KeyError:
        # An earlier release wrote it, without one of these columns.
        return parquet.ParquetFile(path)


class RowSource(Protocol):
    """Events and alerts to hunt in. Reading them raises BadInput, BusUnavailable and OSError."""

    remarks: list[str]
    """On what isn't there or couldn't be read; complete once all was read."""

    def chunks(self, events: EventRange, stop: Stop) -> Iterator[Chunk]:
        """Yield the events of a time range; those of other times and hosts may be among them."""

    def datasets(self, events: EventRange, stop: Stop, folder: Path) -> tuple[dataset.Dataset, dataset.Dataset]:
        """Return events and alerts of a time range, to be read several times. folder: for files; empty at first."""


class ArchiveSource:
    """The files of an archive."""

    def __init__(self, files: ArchiveFiles) -> None:
        """Take the folder."""
        self.remarks: list[str] = []
        self._files = files

    def chunks(self, events: EventRange, stop: Stop) -> Iterator[Chunk]:
        """Yield the events of a time range."""
        found = self._select("events", events)
        total = sum(each.size for each in found) or 1
        done, waiting = 0, list[ArchiveFile]()
        for each in found:
            if stop():
                return
            waiting.append(each)
            done += each.size
            if sum(file.size for file in waiting) >= _CHUNK_BYTES:
                yield self._chunk(waiting, done / total)
                waiting = []
        if waiting:
            yield self._chunk(waiting, 1.0)
        self.remark(events.since)

    def hours(self, since: int, until: int) -> dict[int, Chunk]:
        """Return the events that were appended in a time range, ms since the epoch, by their hour, oldest first."""
        found: dict[int, list[ArchiveFile]] = {}
        for each in self._files.select("events", since, until):
            found.setdefault(each.hour, []).append(each)
        return {hour: self._chunk(files, 1.0) for hour, files in found.items()}

    def batches(self, since: int, until: int) -> dataset.Dataset:
        """Return the batches that were appended in a time range, ms since the epoch."""
        return self._dataset("batches", self._readable("batches", EventRange(since, until)))

    def datasets(
        self,
        events: EventRange,
        stop: Stop,  # noqa: ARG002  listing files takes no time
        folder: Path,  # noqa: ARG002
    ) -> tuple[dataset.Dataset, dataset.Dataset]:
        """Return events and alerts of a time range."""
        self.remark(events.since)
        first, second = (self._dataset(name, self._readable(name, events)) for name in ("events", "alerts"))
        return first, second

    def _readable(self, name: str, events: EventRange) -> list[ArchiveFile]:
        """Return the files of a time range without those that would end a query, with a remark on each."""
        found = []
        for each in self._select(name, events):
            try:
                _check_types(metadata_of(self._files, each).schema.to_arrow_schema(), DATASETS[name], each.path)
            except (BadBatch, OSError, pa.ArrowException) as error:
                self.remarks.append(f"{str(error).rstrip('.')}. Its rows are missing.")
            else:
                found.append(each)
        return found

    def remark(self, since: int) -> None:
        """Remark where the archive begins, if that is later than a time, ms since the epoch."""
        if (text := beginning(self._files.select("batches"), since)) is not None:
            self.remarks.append(text)

    def _select(self, name: str, events: EventRange) -> Sequence[ArchiveFile]:
        until = None if events.until is None else events.until + _LATER_MS
        return self._files.select(name, max(events.since - _EARLIER_MS, 0), until)

    def _chunk(self, files: Sequence[ArchiveFile], share: float) -> Chunk:
        parts = tuple(self._chunk([each], share) for each in files) if len(files) > 1 else ()
        paths = [each.path for each in files]
        if isinstance(self._files.system, fs.LocalFileSystem):
            return Chunk(files=paths, share=share, parts=parts, name=paths[0])
        return Chunk(rows=self._dataset("events", files), share=share, parts=parts, name=paths[0])

    def _dataset(self, name: str, files: Sequence[ArchiveFile]) -> dataset.Dataset:
        paths = [each.path for each in files]
        return dataset.dataset(paths, schema=DATASETS[name], format="parquet", filesystem=self._files.system)


def _check_types(stored: pa.Schema, schema: pa.Schema, path: str) -> None:
    """Raise BadBatch if a column has another kind of values than an archive's: somebody else wrote the file."""
    for each in stored:
        kind = schema.field(each.name).type if each.name in schema.names else each.type
        # Numbers of files that tables refer to are wider; structures of earlier releases have fewer attributes.
        if each.type.id != kind.id and not (pa.types.is_integer(each.type) and pa.types.is_integer(kind)):
            raise BadBatch(f"{path}: no file of an archive: its column {each.name} has the type {each.type}")


class StoreSource:
    """The events of a recording or of the topic, converted to the archive's columns."""

    def __init__(self, store: EventStore) -> None:
        """Take the store."""
        self.remarks: list[str] = []
        self._store = store

    def chunks(self, events: EventRange, stop: Stop) -> Iterator[Chunk]:
        """Yield the events of a time range."""
        reading = self._store.batches(events, stop)
        return (Chunk(rows, share=reading.share) for rows in self._tables(reading, stop))

    def _tables(self, reading: Reading[StoredBatch], stop: Stop) -> Iterator[pa.Table]:
        waiting: list[ArchivedBatch] = []
        count = 0
        for number, stored in enumerate(reading):
            if stop():
                break
            waiting.append(ArchivedBatch(stored, 0, number))
            count += stored.batch.count
            if count >= _CHUNK_EVENTS:
                yield from tables(waiting)
                waiting, count = [], 0
        yield from tables(waiting)
        self.remarks += reading.remarks

    def datasets(self, events: EventRange, stop: Stop, folder: Path) -> tuple[dataset.Dataset, dataset.Dataset]:
        """Return events and alerts of a time range."""
        for number, rows in enumerate(self._tables(self._store.batches(events, stop), stop)):
            parquet.write_table(rows.cast(EVENTS), folder / f"{number:06}.parquet")
        alerts = alert_rows(list(self._alerts(events, stop)))
        return dataset.dataset(folder, schema=EVENTS, format="parquet"), dataset.dataset(alerts.cast(ALERTS))

    def _alerts(self, events: EventRange, stop: Stop) -> Iterator[ArchivedAlert]:
        try:
            for number, each in enumerate(self._store.alerts(events, stop)):
                yield ArchivedAlert(each, each.time // 1_000_000, 0, number)
        except BadInput:
            # One file has either events or alerts.
            if self._store.scope != "file":
                raise


def private_folder() -> tempfile.TemporaryDirectory[str]:
    """Return a folder that only this user can read, which is removed at the end."""
    return tempfile.TemporaryDirectory(prefix="lanner-hunt-")
