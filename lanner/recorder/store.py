"""Stored batches from recordings and topics, each with its append time, and the limit on one reading of them."""

import contextlib
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, Literal, Protocol, TypeVar

from bus.messages import append_time, correction
from foundation.quantities import date_and_time_seconds
from foundation.text import OnNote, ignore_note
from lanner.errors import BadInput
from processor.compiler.batch import Excludes
from processor.hosts.arrival import dated
from schemas.alert import Alert, BadAlert
from schemas.batch import EventBatch
from schemas.encoding.batch import BadBatch, decode_batch
from schemas.encoding.recording import is_container, read_open_recording, read_recording

Item = TypeVar("Item")
Source = TypeVar("Source")

LOCK = "lock"
"""File in the folder of a rolling recording: one process at a time writes there, so that its files are in order."""
SECONDS = 20.0
MAX_BYTES = 256 << 20
"""Bytes of encoded batches."""


@dataclass(frozen=True, slots=True)
class StoredBatch:
    """One batch."""

    batch: EventBatch
    """With corrected times."""
    appended: int
    """Broker's clock, ms since the epoch; for a recording, when the batch was made."""
    offset: int = 0
    """Correction that was added to its times, ns."""
    size: int = 0
    """Bytes of the message; 0 for a recording."""
    excluded: int = 0
    """Events of a capture that were read with these, but left out because no rule can match them."""

    @property
    def events(self) -> int:
        """The number of events that were evaluated, or excluded before."""
        return self.batch.total + self.excluded


def from_message(message: Any, value: bytes) -> StoredBatch:
    """Decode a message of the events topic as a processor does. value: as this release writes it. Raises BadBatch."""
    appended = message.timestamp()[1]
    offset = correction(message.headers() or (), appended * 1_000_000)
    batch, _ = dated(decode_batch(value), append_time(appended), offset)
    return StoredBatch(batch, appended, offset, len(value))


def recordings(paths: tuple[Path, ...]) -> list[Path]:
    """Return the recordings at paths; those of a folder oldest first. Raises BadInput."""
    found: list[Path] = []
    for path in paths:
        if path.is_dir():
            inside = sorted(path.glob("*.avro"))
            if not inside:
                raise BadInput(f"{path}: no recordings in this folder.")
            found += inside
        else:
            found.append(path)
    return found


def is_archive(path: Path) -> bool:
    """Return whether a path is an archive's: in an S3-compatible store, or a folder as `lanner archive` writes."""
    return str(path).startswith("s3:/") or (path / "batches").is_dir()


def is_recorded(path: Path) -> bool:
    """Return whether a path is a folder, or a recording or capture by its first bytes.

    False if it can't be read, or not twice, as a pipe.
    """
    if not path.is_file():
        return path.is_dir()
    try:
        with path.open("rb") as file:
            beginning = file.peek(1)
    except OSError:
        return False
    return is_container(beginning) or _is_capture(beginning)


def _is_capture(beginning: bytes) -> bool:
    # Imported here, because captures take 2 MiB, and `lanner run` reads none.
    from lanner.captures.reader import is_capture  # noqa: PLC0415

    return is_capture(beginning)


def from_files(
    paths: tuple[Path, ...],
    since: int = 0,
    exclusions: Mapping[str, Excludes] | None = None,
    note: OnNote = ignore_note,
) -> Iterator[StoredBatch]:
    """Yield the batches of recordings, captures, and folders of recordings, in order. Raises BadInput.

    The last batch of a file in a folder may be truncated: the file is still being written, or its writer was killed.
    since: files of `lanner run` that end before this time may be left out, ns since the epoch. exclusions: by event
    type that matters to a rule, what excludes events of captures; None for all events. note: receives what can't be
    read, and what captures lack.
    """
    folders = {path for path in paths if path.is_dir()}

    def batches(path: Path) -> Iterator[StoredBatch]:
        try:
            yield from read_file(path, exclusions, note)
        except FileNotFoundError as error:
            if path.parent in folders:
                raise
            raise BadInput(f"{path}: {error.strerror}.") from None

    def report(path: Path, error: Exception) -> None:
        if path.parent not in folders:
            raise BadInput(f"{error}.") from None
        note(f"{error}; continuing with the next file.")

    yield from each_readable(_relevant(recordings(paths), since), batches, report)


def read_file(
    path: Path, exclusions: Mapping[str, Excludes] | None = None, note: OnNote = ignore_note
) -> Iterator[StoredBatch]:
    """Yield the batches of one recording or capture; from_files describes the arguments.

    Raises:
        FileNotFoundError: There is none.
        BadInput: It can't be opened.
        BadBatch: It is damaged; the batches before it are valid.
    """
    try:
        yield from _batches_of(path, exclusions, note)
    except (BrokenPipeError, FileNotFoundError):
        raise
    except OSError as error:
        raise BadInput(f"{path}: {error.strerror}.") from None


def _batches_of(path: Path, exclusions: Mapping[str, Excludes] | None, note: OnNote) -> Iterator[StoredBatch]:
    """Yield the batches of a recording or a capture, recognized by its first bytes, because it may be a pipe."""
    with path.open("rb") as file:
        beginning = file.peek(1)
        if is_container(beginning) or not _is_capture(beginning):
            for batch in read_open_recording(file, path):
                yield StoredBatch(batch, batch.created // 1_000_000)
            return
        from lanner.captures.reader import CaptureReader  # noqa: PLC0415

        reader = CaptureReader(file, str(path), exclusions)
        excluded = 0
        for batch in reader.batches():
            yield StoredBatch(batch, batch.created // 1_000_000, excluded=reader.excluded - excluded)
            excluded = reader.excluded
        for line in reader.counts.lines():
            note(f"{path}: {line}.")


def _relevant(files: list[Path], since: int) -> list[Path]:
    """Leave out the files before the last one that begins before a time, if only `lanner run` wrote them, in order."""
    if not since or any(not (path.parent / LOCK).exists() for path in files):
        return files
    for number in range(len(files) - 1, 0, -1):
        with contextlib.suppress(OSError, BadBatch):
            first = next(read_recording(files[number]), None)
            if first is not None and first.created <= since:
                return files[number:]
    return files


def time_text(milliseconds: int) -> str:
    """Return a time, ms since the epoch, as messages show it."""
    return date_and_time_seconds(milliseconds * 1_000_000)


EARLIER_MS = 30_000
"""How much earlier than a time range to start: batches state every 15 s what is collected, and clocks may differ."""


Stop = Callable[[], bool]
"""Called between reads; True ends them."""


@dataclass(frozen=True, slots=True)
class EventRange:
    """A time range of stored events, ms since the epoch."""

    since: int
    until: int | None = None
    """Batches that arrived later may be left out; None for all later ones."""
    host: str | None = None
    """Id or name; None for all hosts."""
    about: int | None = None
    """The time that matters most, if there is one: remarks state whether the store has it."""


class Reading(Generic[Item]):
    """The contents of a store for a time range, read as it is iterated over, once; nothing is opened before.

    Iteration raises BadInput if a recording can't be read, and BusUnavailable if the topic can't.
    """

    def __init__(self, read: Callable[["Reading[Item]"], Generator[Item]]) -> None:
        """Prepare reading. read: yields the items, and counts here."""
        self.total = 0
        """Messages, or bytes, that are to be read, estimated; 0 while that is unknown."""
        self.done = 0
        """How many of them have been read."""
        self.bytes = 0
        """Read so far, where they are counted."""
        self.unreadable = 0
        """Messages that aren't valid; the processor dead-letters them."""
        self.remarks: list[str] = []
        """On what isn't there; complete at the end."""
        self._items = read(self)

    @property
    def share(self) -> float:
        """How much of it has been read, from 0 to 1."""
        return min(self.done / self.total, 1.0) if self.total else 0.0

    def __iter__(self) -> Iterator[Item]:
        """Return the items."""
        return self._items

    def close(self) -> None:
        """Stop reading."""
        self._items.close()


@dataclass(frozen=True, slots=True)
class EventPortion:
    """The events of a part of the time range."""

    since: int
    """Its start, ms since the epoch."""
    batches: Iterator[StoredBatch]
    """In any order, read as they are used."""


class EventStore(Protocol):
    """Stored events and alerts. Reading them raises BadInput and BusUnavailable."""

    name: str
    """For messages: the recording, or the brokers."""
    scope: Literal["file", "host", "fleet"]
    """One file, of events or of alerts; a recording of both; or the topics of a fleet."""

    def batches(self, events: EventRange, stop: Stop) -> Reading[StoredBatch]:
        """Return the batches of a time range; those of other times may be among them.

        They are in the order in which they arrived; about a time, only those of each host are.
        """

    def portions(self, events: EventRange, stop: Stop) -> Reading[EventPortion]:
        """Return the portions of a time range that has an end, newest first."""

    def alerts(self, events: EventRange, stop: Stop) -> Iterator[Alert]:
        """Yield the alerts of a time range in order; some twice, and some of other times and hosts."""

    def alert(self, alert_id: str, near: int, stop: Stop, show: Callable[[str], None]) -> Alert | None:
        """Return an alert; None if it isn't stored. near: its time, ms since the epoch; show: receives the progress."""


def each_readable(
    sources: Iterable[Source], read: Callable[[Source], Iterable[Item]], report: Callable[[Source, Exception], None]
) -> Iterator[Item]:
    """Yield the items of files or messages; one that can't be read is reported, and doesn't stop those behind it.

    A file that is gone is left out: a recording that continues deletes its oldest ones.
    """
    for source in sources:
        try:
            yield from read(source)
        except FileNotFoundError:
            continue
        except (BadBatch, BadAlert) as error:
            report(source, error)


class ReadBudget:
    """Ends a reading once it has taken too long or too much, or once nobody waits for it; from any thread."""

    def __init__(
        self, seconds: float = SECONDS, max_bytes: int = MAX_BYTES, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._clock = clock
        self._deadline = clock() + seconds
        self._seconds = seconds
        self._bytes_left = max_bytes
        self._max_bytes = max_bytes
        self._is_cancelled = False

    def cancel(self) -> None:
        """End the reading: its result is no longer needed."""
        self._is_cancelled = True

    def take(self, stored: StoredBatch) -> None:
        """Count a batch that was read."""
        self._bytes_left -= stored.size

    def is_spent(self) -> bool:
        """Return whether reading must end."""
        return self._is_cancelled or self._bytes_left < 0 or self._clock() >= self._deadline

    def remark(self) -> str:
        """Return a sentence on why reading ended early; empty if it did not."""
        if self._bytes_left < 0:
            return f"Reading ended after {self._max_bytes >> 20} MiB: later events are missing. Show a shorter time."
        if self._clock() >= self._deadline:
            return f"Reading ended after {self._seconds:.0f} s: later events are missing. Show a shorter time."
        return ""
