"""How long things took, counted by size: what a histogram is made of, cheap enough to be kept by any thread."""

from bisect import bisect_left
from dataclasses import dataclass, field

BOUNDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0, 3600.0)
"""Upper bounds, seconds: from a quiet host's milliseconds to an outage's hour."""


@dataclass(slots=True)
class Histogram:
    """Counts by bound, and the sum."""

    seconds: float = 0.0
    counts: list[int] = field(default_factory=lambda: [0] * (len(BOUNDS) + 1))
    """One a bound, and what took longer."""

    def add(self, seconds: float) -> None:
        """Count one."""
        self.seconds += seconds
        self.counts[bisect_left(BOUNDS, seconds)] += 1
