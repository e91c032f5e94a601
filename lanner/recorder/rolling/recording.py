"""A rolling recording: the newest events and alerts of a host, in a folder of limited size."""

import fcntl
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from lanner.errors import BadInput
from lanner.recorder.batches import LOCK
from lanner.recorder.rolling.segments import Segments
from schemas.alert import ALERT_SCHEMA, Alert, encode_alert
from schemas.batch import EventBatch
from schemas.codec import EVENT_BATCH_SCHEMA, encode_batch

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
        """Open the folder, with the files of earlier runs.

        Args:
            folder: created with mode 0700 if it doesn't exist.
            limit_bytes: maximum total size, compressed.
            on_error: called with a message when writes begin to fail, and with the number of lost events afterwards.
            clock: returns monotonic seconds.

        Raises:
            BadInput: The folder can't be used, or another process uses it.
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
    flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
    file = os.fdopen(os.open(path, flags, 0o600), "r+b")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        file.close()
        raise
    return file
