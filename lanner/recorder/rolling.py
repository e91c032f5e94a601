"""A rolling recording: the newest events of a host, in a folder of limited size."""

import fcntl
import os
from collections import deque
from collections.abc import Callable
from pathlib import Path

from lanner.errors import BadInput
from schemas.batch import EventBatch
from schemas.codec import encode_batch
from schemas.encoding.recording import RecordingWriter

_SEGMENTS = 16
"""The limit is enforced by deleting the oldest file, a sixteenth of the total."""
_MIN_SEGMENT = 64 * 1024
_MEGABYTE = 1_000_000
_UNITS = {"KB": 1000, "MB": _MEGABYTE, "GB": 1000 * _MEGABYTE, "KIB": 1 << 10, "MIB": 1 << 20, "GIB": 1 << 30}


def size_mib(text: str) -> int:
    """Parse a size such as 256MB or 1GiB, in MiB, at least 1. Raises BadInput."""
    number = text.rstrip("KMGIBkmgib")
    unit = _UNITS.get(text[len(number) :].upper())
    if unit is None or not (number.isascii() and number.isdigit() and 0 < int(number) < 1 << 40):
        raise BadInput(f"--keep {text}: must be a size such as 256MB or 2GiB.")
    return max(int(number) * unit >> 20, 1)


class RollingRecording:
    """Appends batches to files in a folder and deletes the oldest file; each file is a complete recording."""

    def __init__(self, folder: Path, limit_bytes: int, *, on_error: Callable[[str], None]) -> None:
        """Open the folder, with the files of earlier runs.

        Args:
            folder: created with mode 0700 if it doesn't exist.
            limit_bytes: maximum total size, compressed.
            on_trouble: called with a message when writes begin to fail, and with the number of lost events afterwards.

        Raises:
            BadInput: The folder can't be used, or another process uses it.
        """
        self._folder = folder
        self._limit = limit_bytes
        self._segment_limit = max(limit_bytes // _SEGMENTS, _MIN_SEGMENT)
        self._on_error = on_error
        self.missed = 0
        """Events that could not be stored; reported when writing works again, and on close."""
        self._reported = 0
        self._is_failing = False
        self._writer: RecordingWriter | None = None
        self._written = 0
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._lock = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self._files = deque((path, path.stat().st_size) for path in sorted(folder.glob("*.avro")))
        except BlockingIOError:
            raise BadInput(f"keep.folder: {folder}: another process records to this folder.") from None
        except OSError as error:
            raise BadInput(f"keep.folder: {folder}: {error.strerror}.") from None
        self._next = 1 + max((int(path.stem) for path, _ in self._files if path.stem.isdigit()), default=0)
        self._make_room()

    @property
    def size(self) -> int:
        """Bytes on disk."""
        return sum(size for _, size in self._files) + self._written

    def store(self, batch: EventBatch) -> None:
        """Append a batch; count its events if the disk is full."""
        try:
            self._append(encode_batch(batch))
        except OSError as error:
            self._end_file()
            self.missed += batch.total
            if not self._is_failing:
                self._is_failing = True
                self._on_error(f"{self._folder}: {error.strerror}: events are not stored until there is room.")
            self._drop_oldest()
        else:
            self._is_failing = False
            self._report_missed()

    def close(self) -> None:
        """Close the current file."""
        self._end_file()
        self._report_missed()
        os.close(self._lock)

    def _append(self, encoded: bytes) -> None:
        if self._writer is None:
            self._path = self._folder / f"{self._next:012}.avro"
            self._next += 1
            self._writer = RecordingWriter(self._path)
        self._writer.write(encoded)
        self._written = self._path.stat().st_size
        if self._written >= self._segment_limit:
            self._end_file()
        self._make_room()

    def _end_file(self) -> None:
        writer, self._writer = self._writer, None
        if writer is None:
            return
        self._files.append((self._path, self._written))
        self._written = 0
        try:
            writer.close()
        except OSError:
            # What was written so far can be read.
            return

    def _report_missed(self) -> None:
        if self.missed > self._reported:
            self._on_error(f"{self._folder}: {self.missed - self._reported:,} events were not stored.")
            self._reported = self.missed

    def _make_room(self) -> None:
        while self.size > self._limit and self._drop_oldest():
            pass

    def _drop_oldest(self) -> bool:
        if not self._files:
            return False
        path, _ = self._files.popleft()
        path.unlink(missing_ok=True)
        return True
