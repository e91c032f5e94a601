"""The wall clock of one machine, and how far it was set since it was last read.

A machine whose clock has no battery, or a wrong one, starts years off until NTP sets it. What was remembered by the
clock before has to move along, else it would end years too late, or all at once.
"""

import time
from collections.abc import Callable

_SLACK = 1_000_000_000
"""ns; less is slewing, which moves no window by a time that matters."""


def _since_boot() -> int:
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME)


class WallClock:
    """Compares the wall clock with the time since boot, which nothing can set."""

    def __init__(self, wall: Callable[[], int] = time.time_ns, since_boot: Callable[[], int] = _since_boot) -> None:
        """Start.

        Args:
            wall: ns since the epoch.
            since_boot: ns; goes on while the machine sleeps.
        """
        self._wall = wall
        self._since_boot = since_boot
        self._boot = wall() - since_boot()

    def read(self) -> tuple[int, int]:
        """Return the time, ns since the epoch, and how far the clock was set since the last call, ns; mostly 0."""
        now = self._wall()
        boot = now - self._since_boot()
        step = boot - self._boot
        if abs(step) <= _SLACK:
            return now, 0
        self._boot = boot
        return now, step
