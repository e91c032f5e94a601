"""Counts the alerts of draft rules by rule and host, and reports which events they can't have seen.

Pure: takes alerts and coverage, returns rows and sentences.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache

from foundation.caches import BoundedSet
from foundation.text import count_of
from lanner.recorder.coverage import HostCoverage, covers, read_filter
from schemas.alert import Alert
from schemas.batch import events_lost
from schemas.filter import PushdownFilter

_MAX_ROWS = 100_000
_REMEMBERED_IDS = 100_000
_NAMED_HOSTS = 5


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


def not_collected(
    event_types: frozenset[str], pushdown_filter: PushdownFilter, hosts: Mapping[str, HostCoverage]
) -> list[str]:
    """Return sentences on the events that the rules need but collectors didn't send, with the hosts.

    Args:
        event_types: the event types that the rules select.
        pushdown_filter: the pushdown filter of the rules.
        hosts: what is known about each host.
    """
    read = cache(read_filter)
    is_covered = cache(lambda sent, event: (then := read(sent)) is not None and covers(then, pushdown_filter, event))
    hosts_by_sentence: dict[str, list[str]] = defaultdict(list)
    for host in hosts.values():
        lacking = frozenset(
            event
            for event in event_types & host.narrowed
            if not all(is_covered(sent, event) for sent in host.encoded_filters)
        )
        for sentence in _missing(event_types, lacking, host):
            hosts_by_sentence[sentence].append(host.hostname)
    return [f"{sentence} ({_named(names)})" for sentence, names in hosts_by_sentence.items()]


def _missing(event_types: frozenset[str], lacking: frozenset[str], host: HostCoverage) -> Iterable[str]:
    if not host.is_known:
        yield "unknown which events were collected"
    if gone := host.gone(event_types):
        yield f"not collected, because no rule at that time needed it: {_joined(gone)}"
    if partly := event_types & host.partly:
        yield f"collected only part of the time, because rules changed: {_joined(partly)}"
    if lacking:
        yield (f"collected only for the rules at that time, which is less than these rules need: {_joined(lacking)}")
    if lost := events_lost(host.lost):
        yield f"lost: {count_of(lost, 'event')}"
    if host.missing:
        yield f"missing: {count_of(host.missing, 'batch', 'batches')}"


def _joined(names: Iterable[str]) -> str:
    return ", ".join(sorted(names))


def _named(names: list[str]) -> str:
    if len(names) <= _NAMED_HOSTS:
        return ", ".join(sorted(names))
    return f"{count_of(len(names), 'host')}, such as {', '.join(sorted(names)[:_NAMED_HOSTS])}"
