"""Counters of one sink: every alert that it was given is in one of them."""

import time
from bisect import bisect_left
from collections.abc import Callable
from dataclasses import dataclass, field

BUCKETS = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0, 3600.0)
"""Upper bounds of the latency histogram, seconds: from milliseconds on an idle host to an hour of outage."""


@dataclass(slots=True)
class SinkStats:
    """Counters of one sink, written by its own thread and read by metrics."""

    sent: int = 0
    retried: int = 0
    """Failed attempts."""
    dead_lettered: int = 0
    duplicates: int = 0
    not_routed: int = 0
    """Excluded by a route or by the sink's minimum priority."""
    muted: int = 0
    condition_faults: int = 0
    """Alerts on which a condition or template of a route or mute raised an exception."""
    lost: int = 0
    """The sink failed and has no queue, or its outbox could not be written."""
    seconds: float = 0.0
    """Total time from event to delivery."""
    buckets: list[int] = field(default_factory=lambda: [0] * (len(BUCKETS) + 1))
    """Deliveries by latency: one count for each bound, and one for what took longer."""
    clock: Callable[[], int] = time.time_ns

    def delivered(self, event_time: int) -> None:
        """Count the delivery of an event that happened at event_time, ns since the epoch."""
        taken = max(0.0, (self.clock() - event_time) / 1e9)
        self.sent += 1
        self.seconds += taken
        self.buckets[bisect_left(BUCKETS, taken)] += 1
