"""Batches that wait on disk while the broker is unavailable: bounded, in order, as encoded.

The folder has segments, each an Avro object container file that `lanner replay` and any Avro tool can open. A segment
is deleted once all its batches have been delivered, or when it is the oldest and the limit is reached. Segments survive
the process; a power cut loses the last second, because that is how often they are synced.
"""

import contextlib
import json
import os
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from foundation.files import DiskSync, write_atomically
from schemas.encoding.batch import BadBatch, decode_batch
from schemas.encoding.recording import RecordingWriter, read_encoded

_INTERVAL_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The newest known batch of an earlier start."""

    start: int
    """Wall clock of that collector's start, ns."""
    sequence: int


class SequenceCheckpoint:
    """A small file beside the spool, written at most once a second; a killed collector may have sent a little more."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._written_at = float("-inf")

    def read(self) -> Checkpoint | None:
        """Return the previous collector's checkpoint; None if there is none that is valid."""
        try:
            noted = json.loads(self._path.read_bytes())
            return Checkpoint(int(noted["start"]), int(noted["sequence"]))
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def note(self, start: int, sequence: int, *, final: bool = False) -> None:
        """Write the newest batch. If writing fails, only the proof of a gap is lost."""
        now = time.monotonic()
        if not final and now - self._written_at < _INTERVAL_SECONDS:
            return
        self._written_at = now
        with contextlib.suppress(OSError):
            write_atomically(self._path, [json.dumps({"start": start, "sequence": sequence}).encode()])


FULL, FAILED, BROKEN, REFUSED = "spool_full", "spool_failed", "spool_broken_batches", "refused_by_broker"
"""Reasons of losses behind the collector. A broken batch's events can't be counted, so batches are."""
_SEGMENTS = 16
"""The limit is enforced to within a sixteenth: a segment is dropped whole."""
_MIN_SEGMENT = 64 * 1024


@dataclass(slots=True, eq=False)
class Segment:
    """One file, and the progress of its batches."""

    path: Path
    size: int = 0
    batches: Iterator[bytes] | None = None
    """Batches not taken yet; None before the first is taken."""
    waiting: int = 0
    """Batches taken but not delivered yet."""
    is_read: bool = False


class Spool:
    """A queue on disk. Only one process may use it: there is one collector per host."""

    def __init__(self, folder: Path, limit_bytes: int, *, on_error: Callable[[str], None] = lambda _: None) -> None:
        """Take over what an earlier process left; raises OSError if the folder can't be used.

        Args:
            folder: created with mode 0700 if missing.
            limit_bytes: maximum compressed size on disk.
            on_error: receives messages about read and write errors.
        """
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.lost: Counter[str] = Counter()
        """Events dropped, by reason."""
        self._folder = folder
        self._limit = limit_bytes
        self._segment_limit = max(limit_bytes // _SEGMENTS, _MIN_SEGMENT)
        self._on_error = on_error
        self._segments = deque(Segment(path, path.stat().st_size) for path in sorted(folder.glob("*.avro")))
        self._next = 1 + (int(self._segments[-1].path.stem) if self._segments else 0)
        self._writer: RecordingWriter | None = None
        self._written: Segment | None = None
        self._sync = DiskSync()

    @property
    def has_unsent(self) -> bool:
        """True if take would return a batch."""
        return any(not segment.is_read for segment in self._segments)

    @property
    def size(self) -> int:
        """Bytes on disk."""
        return sum(segment.size for segment in self._segments)

    @property
    def oldest(self) -> float | None:
        """Wall clock, seconds, of the last write to the oldest file; None if there is none."""
        for segment in list(self._segments)[:1]:
            with contextlib.suppress(OSError):
                return segment.path.stat().st_mtime
        return None

    def append(self, encoded: bytes) -> None:
        """Append a batch; batches dropped to make room are counted in lost."""
        if self._written is not None and self._written.size >= self._segment_limit:
            self._end_segment()
        try:
            self._write(encoded)
        except OSError as error:
            self._cut_off()
            # The disk is full: drop the oldest batches for the newest, as at our own limit.
            try:
                if not self._drop_oldest():
                    raise
                self._write(encoded)
            except OSError:
                self._cut_off()
                self._on_error(f"{self._folder}: {error.strerror}: events are lost until there is space.")
                self.lost[FAILED] += events_of(encoded, self.lost)
        while self.size > self._limit and self._drop_oldest():
            pass

    def store_sent(self, batches: list[bytes]) -> Segment | None:
        """Store batches that are in flight and may not arrive. take skips them; a restart sends them.

        Return the segment to pass to settle for each of them; None if writing failed.
        """
        self._end_segment()
        try:
            for encoded in batches:
                self._write(encoded)
        except OSError as error:
            if self._written is not None:
                self._segments.remove(self._written)
                self._written.path.unlink(missing_ok=True)
            self._end_segment()
            self._on_error(f"{self._folder}: {error.strerror}: batches in flight are in memory only.")
            return None
        segment = self._written
        self._end_segment()
        if segment is not None:
            segment.is_read = True
            segment.waiting = len(batches)
        return segment

    def take(self) -> tuple[bytes, Segment] | None:
        """Return the oldest batch not taken yet; None if there is none."""
        while True:
            segment = next((each for each in self._segments if not each.is_read), None)
            if segment is None:
                return None
            if segment is self._written:
                self._end_segment()
            encoded = self._next_of(segment)
            if encoded is not None:
                segment.waiting += 1
                return encoded, segment
            segment.is_read = True
            self._remove_if_done(segment)

    def settle(self, segment: Segment) -> None:
        """Record that one batch of a segment has been delivered."""
        segment.waiting -= 1
        self._remove_if_done(segment)

    def close(self) -> None:
        """Finish the file being written; everything else stays as it is."""
        self._end_segment()
        self._sync.close()

    def _write(self, encoded: bytes) -> None:
        if self._writer is None or self._written is None:
            path = self._folder / f"{self._next:012}.avro"
            self._next += 1
            self._writer = RecordingWriter(path)
            self._written = Segment(path)
            self._segments.append(self._written)
        self._writer.write(encoded)
        self._written.size = self._written.path.stat().st_size
        self._sync.touched(self._written.path)

    def _end_segment(self) -> None:
        writer, self._writer, self._written = self._writer, None, None
        if writer is not None:
            with contextlib.suppress(OSError):
                writer.close()

    def _cut_off(self) -> None:
        """End a segment in which a batch didn't fit, as its incomplete part would read as a broken batch."""
        segment = self._written
        self._end_segment()
        if segment is None:
            return
        with contextlib.suppress(OSError):
            if segment.size:
                os.truncate(segment.path, segment.size)
            else:
                self._segments.remove(segment)
                segment.path.unlink(missing_ok=True)

    def _next_of(self, segment: Segment) -> bytes | None:
        try:
            if segment.batches is None:
                segment.batches = read_encoded(segment.path)
            return next(segment.batches, None)
        except BadBatch as error:
            # Cut off when a process was killed while writing.
            self.lost[BROKEN] += 1
            self._on_error(f"{error}: the rest of the file is lost.")
        except OSError as error:
            self.lost[BROKEN] += 1
            self._on_error(f"{segment.path}: {error.strerror}: its events are lost.")
        return None

    def _remove_if_done(self, segment: Segment) -> None:
        if segment.is_read and segment.waiting <= 0 and segment in self._segments:
            self._segments.remove(segment)
            segment.path.unlink(missing_ok=True)

    def _drop_oldest(self) -> bool:
        """Drop the oldest segment with untaken batches; those in flight may still arrive."""
        segment = next((each for each in self._segments if not each.is_read), None)
        if segment is None or segment is self._written:
            return False
        while (encoded := self._next_of(segment)) is not None:
            self.lost[FULL] += events_of(encoded, self.lost)
        segment.is_read = True
        self._segments.remove(segment)
        segment.path.unlink(missing_ok=True)
        return True


def events_of(encoded: bytes, lost: Counter[str]) -> int:
    """Count the events of a dropped batch, and carry over the losses that it would have reported."""
    try:
        batch = decode_batch(encoded)
    except BadBatch:
        return 0
    lost.update(batch.lost)
    return batch.total
