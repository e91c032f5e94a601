"""Reports which events a collector watches in full and which it filters, for the processors' coverage checks."""

import zlib

from schemas.encoding.filter_json import encode_filter
from schemas.filter import PushdownFilter

Watched = tuple[list[str], list[str], bytes]
"""Event types watched in full, event types that are filtered, and the compressed filter; all empty if not due."""


class WatchReport:
    """What one collector watches, reported on each change and at intervals.

    Args:
        event_types: event types to watch.
        interest: pushdown filter; None sends every event.
        interval: seconds between two reports.
        now: monotonic clock, seconds.
    """

    def __init__(
        self, event_types: frozenset[str], interest: PushdownFilter | None, interval: float, now: float
    ) -> None:
        self.event_types = event_types
        self._interest = interest
        self._interval = interval
        self._due = now

    def change(self, event_types: frozenset[str], interest: PushdownFilter | None, now: float) -> None:
        """Replace what is watched; arguments as for the constructor."""
        self.event_types = event_types
        self._interest = interest
        self._due = now

    def take(self, now: float) -> Watched:
        """Return the report if it is due at a time on the monotonic clock, in seconds."""
        if now < self._due:
            return [], [], b""
        self._due = now + self._interval
        if self._interest is None:
            return sorted(self.event_types), [], b""
        whole = {way.event for way in self._interest.ways if not way.tests and way.places is None}
        narrowed = self.event_types & self._interest.events - whole
        return sorted(self.event_types - narrowed), sorted(narrowed), zlib.compress(encode_filter(self._interest))
