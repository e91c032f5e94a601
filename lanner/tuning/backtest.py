"""Counts the alerts of draft rules by rule and host.

Pure: takes alerts, returns rows.
"""

from collections import Counter
from dataclasses import dataclass

from foundation.caches import BoundedSet
from schemas.alert import Alert

_MAX_ROWS = 100_000
_REMEMBERED_IDS = 100_000


@dataclass(slots=True)
class BacktestRow:
    """The alerts of one rule on one host."""

    rule: str
    host: str
    priority: str
    count: int
    first: int
    """Event time, ns since the epoch."""
    last: int


class Backtest:
    """Counts alerts, each id once."""

    def __init__(self) -> None:
        self.alerts = 0
        self.uncounted = 0
        """Alerts beyond the maximum number of rows."""
        self._rows: dict[tuple[str, str], BacktestRow] = {}
        self._counted: BoundedSet[str] = BoundedSet(_REMEMBERED_IDS)

    def count(self, alert: Alert) -> bool:
        """Count an alert; return whether it is new."""
        if not self._counted.add(alert.id):
            return False
        self.alerts += 1
        key = (alert.rule, alert.hostname)
        row = self._rows.get(key)
        if row is not None:
            row.count += 1
            row.first, row.last = min(row.first, alert.time), max(row.last, alert.time)
        elif len(self._rows) < _MAX_ROWS:
            self._rows[key] = BacktestRow(alert.rule, alert.hostname, alert.priority, 1, alert.time, alert.time)
        else:
            self.uncounted += 1
        return True

    def rows(self) -> list[BacktestRow]:
        """Return the rows, by descending number of alerts per rule, then per host."""
        totals = Counter[str]()
        for row in self._rows.values():
            totals[row.rule] += row.count
        return sorted(self._rows.values(), key=lambda row: (-totals[row.rule], row.rule, -row.count, row.host))
