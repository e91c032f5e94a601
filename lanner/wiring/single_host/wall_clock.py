"""The wall clock of one machine, and by how much it was set since it was last read.

A machine without a working clock battery starts with a clock that is years off until NTP sets it. Window state from
before must move by the same amount; otherwise it would expire years too late, or all at once.
"""

import time
from collections.abc import Callable

_SLACK = 1_000_000_000
"""ns; smaller steps are slewing, which does not matter for windows."""


def _since_boot() -> int:
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME)


class WallClock:
    """Compares the wall clock with the time since boot, which cannot be set."""

    def __init__(self, wall: Callable[[], int] = time.time_ns, since_boot: Callable[[], int] = _since_boot) -> None:
        """Begin.

        Args:
            wall: ns since the epoch.
            since_boot: ns; continues during suspend.
        """
        self._wall = wall
        self._since_boot = since_boot
        self._boot = wall() - since_boot()

    def read(self) -> tuple[int, int]:
        """Return the time, ns since the epoch, and by how much the clock was set since the last call, ns; mostly 0."""
        now = self._wall()
        boot = now - self._since_boot()
        step = boot - self._boot
        if abs(step) <= _SLACK:
            return now, 0
        self._boot = boot
        return now, step
