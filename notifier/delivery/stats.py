"""Counters of one sink: every alert that it was given is in one of them."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from bus.latency import Histogram


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
    latency: Histogram = field(default_factory=Histogram)
    """From event to delivery."""
    clock: Callable[[], int] = time.time_ns

    def delivered(self, event_time: int) -> None:
        """Count the delivery of an event that happened at event_time, ns since the epoch."""
        self.sent += 1
        self.latency.add_since(event_time, self.clock())
