"""What became of the alerts that a sink was given, and how long they took: nothing is dropped uncounted."""

import time
from bisect import bisect_left
from collections.abc import Callable
from dataclasses import dataclass, field

BUCKETS = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0, 3600.0)
"""Upper bounds, seconds: from a quiet host's milliseconds to an outage's hour."""


@dataclass(slots=True)
class SinkStats:
    """Counts of one sink, written by its own thread and read by whoever reports them."""

    sent: int = 0
    retried: int = 0
    dead_lettered: int = 0
    duplicates: int = 0
    suppressed: int = 0
    """Not for this sink: routes or a minimum priority said so."""
    muted: int = 0
    condition_faults: int = 0
    """A route's or mute's condition, or its template, failed on an alert."""
    lost: int = 0
    """Its outbox was full, or could not be written."""
    seconds: float = 0.0
    """Sum, from event to delivery."""
    buckets: list[int] = field(default_factory=lambda: [0] * (len(BUCKETS) + 1))
    """Deliveries by time taken: one a bound, and what took longer."""
    clock: Callable[[], int] = time.time_ns

    def delivered(self, event_time: int) -> None:
        """Count one delivery of an event that happened at event_time, ns since the epoch."""
        taken = max(0.0, (self.clock() - event_time) / 1e9)
        self.sent += 1
        self.seconds += taken
        self.buckets[bisect_left(BUCKETS, taken)] += 1
