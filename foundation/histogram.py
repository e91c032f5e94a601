"""A latency histogram that is cheap enough for every message."""

from bisect import bisect_left
from dataclasses import dataclass, field

BOUNDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0, 3600.0)
"""Upper bounds of the buckets, seconds: from milliseconds on a quiet host to an hour's outage."""


@dataclass(slots=True)
class Histogram:
    """Counts by bucket, and the sum."""

    seconds: float = 0.0
    counts: list[int] = field(default_factory=lambda: [0] * (len(BOUNDS) + 1))
    """One per bound, and one for longer durations."""

    def add(self, seconds: float) -> None:
        """Count a duration."""
        self.seconds += seconds
        self.counts[bisect_left(BOUNDS, seconds)] += 1

    def add_since(self, event_time: int, now: int) -> None:
        """Count the time from an event until now, both ns since the epoch; clocks of two hosts may differ."""
        self.add(max(0.0, (now - event_time) / 1e9))
