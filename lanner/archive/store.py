"""An archive as a store of events and alerts, so that stored ones are searched and evaluated as those of a topic."""

from collections.abc import Callable, Generator, Iterator, Sequence
from functools import partial
from typing import Any, Literal

import pyarrow as pa
import pyarrow.compute as pc

from foundation.text import OnNote, count_of
from lanner.archive.alerts import restored_alerts
from lanner.archive.files import HOUR_MS, ArchiveFile, ArchiveFiles, metadata_of, read_rows
from lanner.archive.restored import restored_batches
from lanner.archive.schema import DATASETS, archived_text
from lanner.errors import BadInput, or_bad_input
from lanner.recorder.store import EARLIER_MS, EventPortion, EventRange, Reading, Stop, StoredBatch, time_text
from schemas.alert import Alert
from schemas.encoding.batch import BadBatch

_ROWS = 100_000
"""Events that are read at once; they take some 300 MiB as rows and as batches."""
_ATTEMPTS = 5
_MARGIN_MS = 60_000
"""An alert is published after its event happened; much later if processors lagged."""


class AllRows:
    """Reads all rows of an archive's files; another one leaves out events that nobody needs."""

    is_selection = False
    """True if events are left out."""

    def count(self, files: ArchiveFiles, file: ArchiveFile) -> int:
        """Return the number of rows in a file of events. Raises OSError and BadBatch."""
        return int(metadata_of(files, file).num_rows)

    def read(self, files: ArchiveFiles, file: ArchiveFile, dataset: str, where: Any) -> pa.Table:
        """Return rows of a file, as read_rows does. Raises OSError and BadBatch."""
        return read_rows(files, file, dataset, where)


class ArchiveStore:
    """The events and alerts of an archive."""

    scope: Literal["file", "host", "fleet"] = "fleet"

    def __init__(self, files: ArchiveFiles, note: OnNote, reader: AllRows | None = None) -> None:
        """Take an archive. note: receives which files can't be read. reader: of rows; None to read all."""
        self.name = files.root
        self._reader = reader or AllRows()
        self._files = files
        self._note = note

    def batches(self, events: EventRange, stop: Stop) -> Reading[StoredBatch]:
        """Return the batches that were appended in a time range; EventStore describes the arguments."""
        return Reading(partial(self._batches, events, stop))

    def _batches(self, events: EventRange, stop: Stop, reading: Reading[StoredBatch]) -> Generator[StoredBatch]:
        hours = self._hours("batches", events)
        reading.total = sum(each.size for files in hours.values() for each in files)
        for hour, files in hours.items():
            for stored in self._of_hour(hour, events, reading):
                yield stored
                if stop():
                    return
            reading.done += sum(each.size for each in files)
        self._remark(events.since if events.about is None else events.about, reading)

    def portions(self, events: EventRange, stop: Stop) -> Reading[EventPortion]:
        """Return its hours, newest first; EventStore describes the arguments."""
        return Reading(partial(self._portions, events, stop))

    def _portions(self, events: EventRange, stop: Stop, reading: Reading[EventPortion]) -> Generator[EventPortion]:
        hours = self._hours("batches", events)
        reading.total = sum(each.size for files in hours.values() for each in files)
        for hour, files in reversed(hours.items()):
            if stop():
                return
            yield EventPortion(max(hour, events.since), self._of_hour(hour, events, reading))
            reading.done += sum(each.size for each in files)
        self._remark(events.since, reading)

    def alerts(self, events: EventRange, stop: Stop) -> Iterator[Alert]:
        """Yield the alerts of a time range in the order in which they were published; EventStore has the arguments."""
        until = None if events.until is None else events.until + _MARGIN_MS
        since = max(events.since - _MARGIN_MS, 0)
        for hour in self._hours("alerts", EventRange(since, until)):
            for alert in restored_alerts(self._rows("alerts", hour, _between(since, until))):
                yield alert
                if stop():
                    return

    def alert(self, alert_id: str, near: int, stop: Stop, show: Callable[[str], None]) -> Alert | None:
        """Search for an alert from its time on; EventStore describes the arguments."""
        where = pc.field("id") == archived_text(alert_id)
        for hour in self._hours("alerts", EventRange(near - EARLIER_MS)):
            if stop():
                return None
            show(f"searching for the alert: {time_text(hour)}")
            for alert in restored_alerts(self._rows("alerts", hour, where)):
                return alert
        return None

    def _hours(self, dataset: str, events: EventRange) -> dict[int, list[ArchiveFile]]:
        """Return the files of a time range by their hour, oldest first."""
        found: dict[int, list[ArchiveFile]] = {}
        for each in self._select(dataset, max(events.since, 0), events.until):
            found.setdefault(each.hour, []).append(each)
        return found

    def _select(self, dataset: str, since: int = 0, until: int | None = None) -> Sequence[ArchiveFile]:
        with or_bad_input(self.name):
            return self._files.select(dataset, since, until)

    def _of_hour(self, hour: int, events: EventRange, reading: Reading[Any]) -> Iterator[StoredBatch]:
        """Yield the batches of an hour in the order in which they arrived.

        Its files are ordered by host, so they are read several times, each time for some minutes, if they are large.
        """
        rows = sum(self._count(each) for each in self._select("events", hour, hour))
        parts = max(-(-rows // _ROWS), 1)
        since, until = max(hour, events.since), min(hour + HOUR_MS, events.until or hour + HOUR_MS)
        for part in range(parts):
            start, end = (since + (until - since) * at // parts for at in (part, part + 1))
            # Timestamps that went back are in the hour of those before them.
            where = _between(start if part else events.since, end if part < parts - 1 else events.until)
            if events.host is not None:
                host = archived_text(events.host)
                where &= (pc.field("host_id") == host) | (pc.field("hostname") == host)
            found = self._rows("events", hour, where, reading)
            heads = self._rows("batches", hour, where, reading)
            for each in restored_batches(found, heads, is_selection=self._reader.is_selection):
                reading.bytes += each.stored.size
                yield each.stored

    def _rows(self, dataset: str, hour: int, where: Any, reading: Reading[Any] | None = None) -> pa.Table:
        """Return the rows of an hour. Raises BadInput if its files can't be read."""
        for _ in range(_ATTEMPTS):
            found = [DATASETS[dataset].empty_table()]
            damaged: list[BadBatch] = []
            try:
                for each in self._select(dataset, hour, hour):
                    try:
                        found.append(self._reader.read(self._files, each, dataset, where))
                    except BadBatch as error:
                        damaged.append(error)
            except FileNotFoundError:
                # It was merged with others, or deleted.
                continue
            except OSError as error:
                raise BadInput(f"{self.name}: {error.strerror or error}.") from None
            for fault in damaged:
                self._note(f"{fault}; continuing with the next file.")
            if reading is not None:
                reading.unreadable += len(damaged)
            return pa.concat_tables(found)
        raise BadInput(f"{self.name}: its files are deleted while they are read; try again.")

    def _count(self, file: ArchiveFile) -> int:
        try:
            return self._reader.count(self._files, file)
        except (BadBatch, OSError):
            return 0

    def _remark(self, about: int, reading: Reading[Any]) -> None:
        if (text := beginning(self._select("batches"), about)) is not None:
            reading.remarks.append(text)
        if reading.unreadable:
            reading.remarks.append(f"{count_of(reading.unreadable, 'file')} could not be read.")


def beginning(files: Sequence[ArchiveFile], about: int) -> str | None:
    """Return a remark on what an archive lacks of a time, if it does.

    Args:
        files: all files of its batches, oldest first.
        about: the time, ms since the epoch.
    """
    if not files:
        return "The archive has no events."
    return f"The archive begins at {time_text(files[0].appended)}." if files[0].appended > about > 0 else None


def _between(since: int, until: int | None) -> Any:
    """Return the condition that a row was appended in a time range without its end, ms since the epoch."""
    where = pc.field("appended") >= pa.scalar(since, pa.timestamp("ms"))
    return where if until is None else where & (pc.field("appended") < pa.scalar(until, pa.timestamp("ms")))
