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
        pushdown_filter: pushdown filter; None sends every event.
        interval: seconds between two reports.
        now: monotonic clock, seconds.
    """

    def __init__(
        self, event_types: frozenset[str], pushdown_filter: PushdownFilter | None, interval: float, now: float
    ) -> None:
        self.event_types = event_types
        self._pushdown_filter = pushdown_filter
        self._interval = interval
        self._due = now

    def change(self, event_types: frozenset[str], pushdown_filter: PushdownFilter | None, now: float) -> None:
        """Replace what is watched; arguments as for the constructor."""
        self.event_types = event_types
        self._pushdown_filter = pushdown_filter
        self._due = now

    def take(self, now: float) -> Watched:
        """Return the report if it is due at a time on the monotonic clock, in seconds."""
        if now < self._due:
            return [], [], b""
        self._due = now + self._interval
        if self._pushdown_filter is None:
            return sorted(self.event_types), [], b""
        whole = {
            clause.event for clause in self._pushdown_filter.clauses if not clause.tests and clause.patterns is None
        }
        narrowed = self.event_types & self._pushdown_filter.events - whole
        return (
            sorted(self.event_types - narrowed),
            sorted(narrowed),
            zlib.compress(encode_filter(self._pushdown_filter)),
        )
