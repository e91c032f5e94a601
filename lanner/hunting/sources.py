"""Where hunts read events: the files of an archive, or batches of a recording or the topic, as tables of DuckDB."""

import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import duckdb
import pyarrow as pa
from pyarrow import dataset, fs, parquet

from lanner.archive.alerts import ArchivedAlert, alert_rows
from lanner.archive.files import ArchiveFile, ArchiveFiles
from lanner.archive.rows import ArchivedBatch, tables
from lanner.archive.schema import ALERTS, DATASETS, EVENTS
from lanner.archive.store import beginning
from lanner.archive.storing import metadata_of
from lanner.errors import BadInput
from lanner.recorder.store import EventRange, EventStore, Reading, StoredBatch
from schemas.encoding.batch import BadBatch

Stop = Callable[[], bool]
_CHUNK_EVENTS = 50_000
_CHUNK_BYTES = 256 << 20
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

    def bind(self, connection: duckdb.DuckDBPyConnection, name: str) -> None:
        """Make it a table of a connection."""
        if self.rows is None:
            rows = connection.read_parquet(list(self.files), union_by_name=True)
            if set(EVENTS.names) <= set(rows.columns):
                rows.create_view(name)
            else:
                # An earlier release wrote them, without columns that were added.
                connection.register(name, dataset.dataset(list(self.files), schema=EVENTS, format="parquet"))
        else:
            connection.register(name, self.rows)


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
        """Return the files of a time range without damaged ones, which would end a query, with a remark on each."""
        found = []
        for each in self._select(name, events):
            try:
                metadata_of(self._files, each)
            except (BadBatch, OSError) as error:
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
