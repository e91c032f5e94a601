"""A rolling recording: the newest events and alerts of a host, in a folder of limited size."""

import fcntl
import os
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from foundation.files import open_private
from lanner.errors import BadInput
from lanner.recorder.store import LOCK
from schemas.alert import ALERT_SCHEMA, Alert, encode_alert
from schemas.batch import EventBatch
from schemas.encoding.batch import EVENT_BATCH_SCHEMA, encode_batch
from schemas.encoding.recording import RecordingWriter, count_messages

_SEGMENTS = 16
"""The limits are enforced by deleting the oldest file, a sixteenth of the total."""
_MIN_SEGMENT = 64 * 1024
_LEVEL = 1
"""Level 6 takes six times as long for a batch of 500 events, and saves an eighth."""


@dataclass(slots=True)
class _File:
    path: Path
    size: int = 0
    messages: int = 0


class Segments:
    """The files of a folder. Each start begins a new one, because another release may have written the last."""

    def __init__(self, folder: Path, schema: dict[str, Any], max_bytes: int, max_messages: int | None = None) -> None:
        """Find the files of earlier runs, and delete what is above the limits. Raises OSError.

        folder: created with mode 0700 if it doesn't exist; max_bytes: maximum total size, compressed; max_messages:
        None for any number.
        """
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._folder = folder
        self._schema = schema
        self._max_bytes = max_bytes
        self._max_messages = max_messages
        self._segment_bytes = max(max_bytes // _SEGMENTS, _MIN_SEGMENT)
        self._segment_messages = None if max_messages is None else max(max_messages // _SEGMENTS, 1)
        self._writer: RecordingWriter | None = None
        self._files = deque(self._found(path) for path in sorted(folder.glob("*.avro")))
        self._next = 1 + max((int(file.path.stem) for file in self._files if file.path.stem.isdigit()), default=0)
        self._make_room()

    @property
    def size(self) -> int:
        """Bytes on disk."""
        return sum(file.size for file in self._files)

    def append(self, encoded: bytes) -> None:
        """Append an encoded message. Raises OSError; a later call then begins a new file."""
        if self._writer is None:
            path = self._folder / f"{self._next:012}.avro"
            self._next += 1
            self._writer = RecordingWriter(path, self._schema, level=_LEVEL)
            self._files.append(_File(path))
        newest = self._files[-1]
        try:
            self._writer.write(encoded)
        except OSError:
            self.close()
            if not newest.messages:
                self._files.pop()
                newest.path.unlink(missing_ok=True)
            raise
        newest.size = newest.path.stat().st_size
        newest.messages += 1
        if newest.size >= self._segment_bytes or newest.messages == self._segment_messages:
            self.close()
        self._make_room()

    def close(self) -> None:
        """Close the current file."""
        writer, self._writer = self._writer, None
        if writer is None:
            return
        try:
            writer.close()
        except OSError:
            # What was written so far can be read.
            return

    def _make_room(self) -> None:
        while self._is_above() and len(self._files) > (self._writer is not None):
            self._files.popleft().path.unlink(missing_ok=True)

    def _is_above(self) -> bool:
        if self.size > self._max_bytes:
            return True
        return self._max_messages is not None and sum(file.messages for file in self._files) > self._max_messages

    def _found(self, path: Path) -> _File:
        messages = 0 if self._max_messages is None else count_messages(path)
        return _File(path, path.stat().st_size, messages)


ALERTS = "alerts"
"""Folder of the alerts inside the folder of the recording."""
MAX_ALERTS = 10_000
_ALERTS_SHARE = 8
"""Alerts take at most an eighth of the size."""
_RETRY_SECONDS = 10.0
"""How long nothing is written after a failure. What is stored stays: a full disk must not erase what led to it."""


class RollingRecording:
    """Appends events and alerts to files and deletes the oldest files; each file is a complete recording."""

    def __init__(
        self,
        folder: Path,
        limit_bytes: int,
        *,
        on_error: Callable[[str], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Open the folder, with the files of earlier runs. Raises BadInput, also if another process uses it.

        folder: created with mode 0700 if it doesn't exist; limit_bytes: maximum total size, compressed; on_error:
        called with a message when writes begin to fail, and with the number of lost events afterwards.
        """
        self._folder = folder
        self._on_error = on_error
        self._clock = clock
        self.missed = 0
        """Events and alerts that could not be stored; reported when writing works again, and on close."""
        self._reported = 0
        self._retry_at = 0.0
        """When to write again after a failure; 0 if the last write worked."""
        for_alerts = limit_bytes // _ALERTS_SHARE
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._lock = lock_file(folder / LOCK)
            self._events = Segments(folder, EVENT_BATCH_SCHEMA, limit_bytes - for_alerts)
            self._alerts = Segments(folder / ALERTS, ALERT_SCHEMA, for_alerts, MAX_ALERTS)
        except BlockingIOError:
            raise BadInput(f"keep.folder: {folder}: another process records to this folder.") from None
        except OSError as error:
            raise BadInput(f"keep.folder: {folder}: {error.strerror}.") from None

    def store(self, batch: EventBatch) -> None:
        """Append a batch; count its events if the disk is full."""
        self._append(self._events, encode_batch(batch), batch.total)

    def store_alert(self, alert: Alert) -> None:
        """Append an alert; count it if the disk is full."""
        self._append(self._alerts, encode_alert(alert), 1)

    def close(self) -> None:
        """Close the current files."""
        self._events.close()
        self._alerts.close()
        self._report_missed()
        self._lock.close()

    def _append(self, segments: Segments, encoded: bytes, number: int) -> None:
        now = self._clock()
        if now < self._retry_at:
            self.missed += number
            return
        try:
            segments.append(encoded)
        except OSError as error:
            self.missed += number
            if not self._retry_at:
                self._on_error(f"{self._folder}: {error.strerror}: nothing is recorded until there is room.")
            self._retry_at = now + _RETRY_SECONDS
        else:
            self._retry_at = 0.0
            self._report_missed()

    def _report_missed(self) -> None:
        if self.missed > self._reported:
            self._on_error(f"{self._folder}: {self.missed - self._reported:,} events and alerts were not recorded.")
            self._reported = self.missed


def lock_file(path: Path) -> BinaryIO:
    """Open a file and lock it until it is closed. Raises OSError; BlockingIOError if another process has locked it."""
    file = os.fdopen(open_private(path, os.O_RDWR), "r+b")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        file.close()
        raise
    return file
