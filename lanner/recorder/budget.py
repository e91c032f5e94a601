"""A limit on one reading of retained events: time, bytes, and whether the client still waits."""

import time
from collections.abc import Callable

from lanner.recorder.store import StoredBatch

SECONDS = 20.0
MAX_BYTES = 256 << 20
"""Bytes of encoded batches."""


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
