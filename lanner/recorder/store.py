"""Stored batches from recordings and topics, each with its append time."""

import contextlib
from collections.abc import Callable, Generator, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from bus.messages import append_time, correction
from foundation.text import OnNote, ignore_note
from lanner.captures.reader import CaptureReader, is_capture
from lanner.errors import BadInput
from processor.compiler.batch import Excludes
from processor.hosts.arrival import dated
from schemas.batch import EventBatch
from schemas.encoding.batch import BadBatch, decode_batch
from schemas.encoding.recording import is_container, read_open_recording, read_recording

LOCK = "lock"
"""File in the folder of a rolling recording: one process at a time writes there, so that its files are in order."""


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
    return is_container(beginning) or is_capture(beginning)


def from_files(
    paths: tuple[Path, ...],
    since: int = 0,
    exclusions: Mapping[str, Excludes] | None = None,
    note: OnNote = ignore_note,
) -> Iterator[StoredBatch]:
    """Yield the batches of recordings, captures, and folders of recordings, in order.

    The last batch of a file in a folder may be truncated: the file is still being written, or its writer was killed.

    Args:
        paths: the recordings.
        since: files of `lanner run` that end before this time may be left out, ns since the epoch.
        exclusions: by event type that matters to a rule, what excludes events of captures; None for all events.
        note: receives what can't be read, and what captures lack.

    Raises:
        BadInput: There is none, or one can't be read.
    """
    folders = {path for path in paths if path.is_dir()}
    for path in _relevant(recordings(paths), since):
        try:
            yield from _batches_of(path, exclusions, note)
        except OSError as error:
            if isinstance(error, BrokenPipeError):
                raise
            if path.parent in folders and isinstance(error, FileNotFoundError):
                continue
            raise BadInput(f"{path}: {error.strerror}.") from None
        except BadBatch as error:
            if path.parent not in folders:
                raise BadInput(f"{error}.") from None
            note(f"{error}; continuing with the next file.")


def _batches_of(path: Path, exclusions: Mapping[str, Excludes] | None, note: OnNote) -> Iterator[StoredBatch]:
    """Yield the batches of a recording or a capture, recognized by its first bytes, because it may be a pipe."""
    with path.open("rb") as file:
        if not is_capture(file.peek(1)):
            for batch in read_open_recording(file, path):
                yield StoredBatch(batch, batch.created // 1_000_000)
            return
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


EARLIER_MS = 30_000
"""How much earlier than a time range to start: batches state every 15 s what is collected, and clocks may differ."""


@dataclass(frozen=True, slots=True)
class EventSpan:
    """A time range of retained events, ms since the epoch."""

    since: int
    time: int
    """The time that matters most: remarks state whether the source has it."""
    until: int | None = None
    """Batches that arrived later may be left out; None for all later ones."""


class EventHistory(Protocol):
    """Retained events of all hosts."""

    def batches(
        self, span: EventSpan, host: str | None, remarks: list[str], stop: Callable[[], bool]
    ) -> Generator[StoredBatch]:
        """Yield the batches of a time range, those of each host in order.

        Args:
            span: the time range; batches of other times may be among them.
            host: id or name of a host; None for all hosts.
            remarks: receives sentences on the source, such as where it begins.
            stop: called between reads; True ends the iteration.

        Raises:
            BadInput: The recording can't be read.
            BusUnavailable: The topic can't be read.
        """
