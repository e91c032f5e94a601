"""Batches that wait on disk for a broker that is away: bounded, in order, as they were encoded.

The folder holds segments, each an Avro object container file that `lanner replay` and any Avro tool opens. A segment
goes once all that is in it has been delivered, or as the oldest when the bound is reached. What is written outlives the
process; a power cut takes the last second, since it is brought to the disk that often.
"""

import contextlib
import os
from collections import Counter, deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from bus.disk_sync import DiskSync
from schemas.codec import BadBatch, decode_batch
from schemas.encoding.recording import RecordingWriter, read_encoded

FULL, FAILED, BROKEN = "spool_full", "spool_failed", "spool_broken_batches"
"""Reasons of losses. A broken batch's events can't be counted, so batches are."""
_SEGMENTS = 16
"""The bound is kept to within a sixteenth: a segment is dropped whole."""
_MIN_SEGMENT = 64 * 1024


@dataclass(slots=True, eq=False)
class Segment:
    """One file, and how far its batches have got."""

    path: Path
    size: int = 0
    batches: Iterator[bytes] | None = None
    """What has not been handed out yet; None before the first is."""
    waiting: int = 0
    """Handed out and not yet delivered."""
    is_read: bool = False


class Spool:
    """A queue on disk. Not for two processes at once: a collector is alone on its host."""

    def __init__(self, folder: Path, limit_bytes: int, *, on_trouble: Callable[[str], None] = lambda _: None) -> None:
        """Take up what an earlier process left; raises OSError where the folder can't be used.

        Args:
            folder: made with mode 0700 where it isn't there.
            limit_bytes: what may lie on disk, compressed.
            on_trouble: told of what can't be read or written.
        """
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.lost: Counter[str] = Counter()
        """Events dropped, by reason."""
        self._folder = folder
        self._limit = limit_bytes
        self._segment_limit = max(limit_bytes // _SEGMENTS, _MIN_SEGMENT)
        self._on_trouble = on_trouble
        self._segments = deque(Segment(path, path.stat().st_size) for path in sorted(folder.glob("*.avro")))
        self._next = 1 + (int(self._segments[-1].path.stem) if self._segments else 0)
        self._writer: RecordingWriter | None = None
        self._written: Segment | None = None
        self._sync = DiskSync()

    @property
    def has_unsent(self) -> bool:
        """Whether there is something that take would give."""
        return any(not segment.is_read for segment in self._segments)

    @property
    def size(self) -> int:
        """Bytes on disk."""
        return sum(segment.size for segment in self._segments)

    @property
    def oldest(self) -> float | None:
        """Wall clock, seconds, at which the oldest file that is left was last written; None where there is none."""
        for segment in list(self._segments)[:1]:
            with contextlib.suppress(OSError):
                return segment.path.stat().st_mtime
        return None

    def append(self, encoded: bytes) -> None:
        """Put a batch at the end; what has to go for it is counted in lost."""
        if self._written is not None and self._written.size >= self._segment_limit:
            self._end_segment()
        try:
            self._write(encoded)
        except OSError as error:
            self._cut_off()
            # A full disk: the oldest makes room for the newest, as at our own bound.
            try:
                if not self._drop_oldest():
                    raise
                self._write(encoded)
            except OSError:
                self._cut_off()
                self._on_trouble(f"{self._folder}: {error.strerror}: events are lost until there is room.")
                self.lost[FAILED] += events_of(encoded, self.lost)
        while self.size > self._limit and self._drop_oldest():
            pass

    def store_sent(self, batches: list[bytes]) -> Segment | None:
        """Keep batches that are on their way and may not arrive; take will not give them, a restart will.

        Returns:
            What settle is to be told for each of them; None where the disk takes nothing.
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
            self._on_trouble(f"{self._folder}: {error.strerror}: what is on its way is only in memory.")
            return None
        segment = self._written
        self._end_segment()
        if segment is not None:
            segment.is_read = True
            segment.waiting = len(batches)
        return segment

    def take(self) -> tuple[bytes, Segment] | None:
        """Give the oldest batch that was not given yet; None where there is none."""
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
        """Take note that one batch of a segment has been delivered."""
        segment.waiting -= 1
        self._remove_if_done(segment)

    def close(self) -> None:
        """Finish the file that is being written; all else waits as it is."""
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
        """End a segment in which a batch found no room: what of it is there would read as a broken one."""
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
            # Cut off where a process was killed while writing.
            self.lost[BROKEN] += 1
            self._on_trouble(f"{error}: the rest of it is lost.")
        except OSError as error:
            self.lost[BROKEN] += 1
            self._on_trouble(f"{segment.path}: {error.strerror}: what is in it is lost.")
        return None

    def _remove_if_done(self, segment: Segment) -> None:
        if segment.is_read and segment.waiting <= 0 and segment in self._segments:
            self._segments.remove(segment)
            segment.path.unlink(missing_ok=True)

    def _drop_oldest(self) -> bool:
        """Drop the oldest segment that still has something to give; its batches on their way are left to arrive."""
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
    """Count the events of a batch that is dropped; the losses that it would have told go on in lost."""
    try:
        batch = decode_batch(encoded)
    except BadBatch:
        return 0
    lost.update(batch.lost)
    return batch.total
