"""The alerts that filters select, and their counts: from counters where these are enough, else from the alerts."""

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from lanner.console.store.filters import Filters, TimeRange, alert_conditions, group_conditions, match_text
from lanner.console.store.tables import CELL_US, SPAN_US

MAX_MATCHES = 20_000
"""A search counts so many of the newest alerts that have its words."""
SPARKS = 24
_END = 1 << 62
Counts = dict[int, tuple[int, ...]]


@dataclass(frozen=True, slots=True)
class AlertSelection:
    """The alerts that filters select in a time range."""

    base: sqlite3.Connection
    filters: Filters
    span: TimeRange
    until: int
    """End of the time range, µs since the epoch."""
    is_counted: bool
    """True if the counters are enough; otherwise the table `matched` contains them, as `alerts` does."""

    def counts(self) -> tuple[str, list[Any]]:
        """Return a query for group and number of alerts, and its values."""
        if not self.is_counted:
            return "SELECT grp, count(*) AS n, max(id) AS last FROM matched GROUP BY grp", []
        if self.span.until is None and self.span.since <= oldest(self.base):
            return "SELECT id AS grp, count AS n, last FROM groups", []
        last = "(SELECT max(id) FROM alerts a WHERE a.grp = cells.grp AND a.id < ?)"
        query = f"SELECT grp, sum(count) AS n, {last} AS last FROM cells WHERE cell >= ? AND cell < ? GROUP BY grp"  # noqa: S608
        return query, [self.span.until or _END, self.span.since // CELL_US, (self.span.until or _END) // CELL_US]

    def of_groups(self, table: str, alerts: int, most: int) -> tuple[str, list[int]]:
        """Return a source `a` of the newest alerts of the groups of a table, and its values.

        table: has a column `id`; alerts: how many they have; most: how many of them are returned.
        """
        if not self.is_counted:
            # They were matched in their order, except by words, which match fewer.
            query = f"SELECT * FROM matched WHERE grp IN (SELECT id FROM {table}) ORDER BY rowid DESC LIMIT ?"  # noqa: S608
            return f"({query}) a", [most]
        bounds = [self.span.since, self.until]
        if alerts <= most:
            # By their index, as they may be a few among very many.
            query = f"SELECT a.* FROM {table} c CROSS JOIN alerts a ON a.grp = c.id WHERE a.id >= ? AND a.id < ?"  # noqa: S608
            return f"({query}) a", bounds
        query = f"SELECT * FROM alerts WHERE id >= ? AND id < ? AND grp IN (SELECT id FROM {table})"  # noqa: S608
        return f"({query} ORDER BY id DESC LIMIT ?) a", [*bounds, most]

    def hosts(self, groups: Sequence[int]) -> dict[int, int]:
        """Return, by group, the number of its hosts."""
        if self.is_counted and self.span.until is None:
            query, values = "SELECT count(*) FROM group_hosts WHERE grp = ? AND last >= ?", [self.span.since]
        elif self.is_counted:
            query = "SELECT count(DISTINCT host) FROM alerts WHERE grp = ? AND id >= ? AND id < ?"
            values = [self.span.since, self.until]
        else:
            chosen = ", ".join(map(str, groups))
            query = f"SELECT grp, count(DISTINCT host) FROM matched WHERE grp IN ({chosen}) GROUP BY grp"  # noqa: S608
            return dict(self.base.execute(query).fetchall())
        return {group: self.base.execute(query, (group, *values)).fetchone()[0] for group in groups}

    def by_time(self, step: int, groups: Sequence[int] | None = None) -> tuple[str, list[Any]]:
        """Return a source `a` of id, grp and count, and its values; step: length of the parts that are counted, µs."""
        chosen = "" if groups is None else f" AND grp IN ({', '.join(map(str, groups))})"
        if not self.is_counted:
            return f"(SELECT id, grp, 1 AS count FROM matched WHERE 1 {chosen}) a", []  # noqa: S608  numbers
        for table, column, length in (("spans", "span", SPAN_US), ("cells", "cell", CELL_US)):
            if step >= length:
                counts = f"SELECT {column} * {length} AS id, grp, count FROM {table}"  # noqa: S608  names
                bounds = [self.span.since // length, (self.until - 1) // length]
                return f"({counts} WHERE {column} >= ? AND {column} <= ?{chosen}) a", bounds
        source = f"(SELECT id, grp, 1 AS count FROM alerts WHERE id >= ? AND id < ?{chosen}) a"  # noqa: S608  numbers
        return source, [self.span.since, self.until]

    def sparklines(self, groups: Sequence[int]) -> Counts:
        """Return, by group, its alerts in each part of the time range."""
        since = self.span.since or oldest(self.base)
        length = max((self.until - since) // SPARKS + 1, 1)
        source, values = self.by_time(length, groups)
        found = {group: [0] * SPARKS for group in groups}
        for group, part, count in self.base.execute(
            f"SELECT grp, (id - {since}) / {length}, sum(count) FROM {source} GROUP BY 1, 2",  # noqa: S608  numbers
            values,
        ):
            found[group][min(max(part, 0), SPARKS - 1)] += count
        return {group: tuple(counts) for group, counts in found.items()}

    def rule_sparklines(self) -> dict[str, tuple[int, ...]]:
        """Return, by rule, its alerts in each part of the time range."""
        since = max(self.span.since, oldest(self.base))
        length = max((self.until - since) // SPARKS + 1, 1)
        source, values = self.by_time(length)
        found: dict[str, list[int]] = {}
        for rule, part, count in self.base.execute(
            f"SELECT g.rule, (a.id - {since}) / {length}, sum(a.count) FROM {source} "  # noqa: S608  numbers
            "JOIN groups g ON g.id = a.grp GROUP BY 1, 2",
            values,
        ):
            found.setdefault(rule, [0] * SPARKS)[min(max(part, 0), SPARKS - 1)] += count
        return {rule: tuple(counts) for rule, counts in found.items()}

    def priorities(self, step: int) -> list[tuple[int, int, int]]:
        """Return number of the part of the time since the epoch, priority and number of alerts."""
        conditions, values = group_conditions(self.filters)
        if self.is_counted and not conditions and step >= CELL_US:
            query = f"SELECT cell * {CELL_US} / {step}, priority, sum(count) FROM totals "  # noqa: S608  numbers
            bounds = (self.span.since // CELL_US, (self.until - 1) // CELL_US)
            return self.base.execute(f"{query} WHERE cell >= ? AND cell <= ? GROUP BY 1, 2", bounds).fetchall()
        source, bound = self.by_time(step)
        query = f"SELECT a.id / {step}, g.priority, sum(a.count) FROM {source} JOIN groups g ON g.id = a.grp "  # noqa: S608
        return self.base.execute(f"{query} WHERE {all_of(conditions)} GROUP BY 1, 2", (*bound, *values)).fetchall()


def select(base: sqlite3.Connection, filters: Filters, now: int) -> AlertSelection:
    """Return what filters select; alerts that must be looked at one by one are looked at once. now: ns."""
    span = filters.span(now)
    is_aligned = span.until is None or (span.since % CELL_US == 0 and span.until % CELL_US == 0)
    is_counted = filters.are_of_groups and is_aligned
    if not is_counted:
        source, values = alerts_source(filters, span)
        base.execute(f"CREATE TEMP TABLE matched AS SELECT a.* FROM {source}", values)  # noqa: S608
    return AlertSelection(base, filters, span, span.until or now // 1000 + 1, is_counted)


def alerts_source(filters: Filters, span: TimeRange) -> tuple[str, list[Any]]:
    """Return a source `a` of the alerts in a time range that match the filters that look at alerts, and its values."""
    conditions, values = alert_conditions(filters)
    bounds = [span.since, _END if span.until is None else span.until]
    words = match_text(filters.q)
    if words:
        source = (
            "(SELECT rowid AS match FROM search WHERE search MATCH ? AND rowid >= ? AND rowid < ? "
            "ORDER BY rowid DESC LIMIT ?) CROSS JOIN alerts a ON a.id = match"
        )
        return f"(SELECT a.* FROM {source} WHERE {all_of(conditions)}) a", [words, *bounds, MAX_MATCHES, *values]  # noqa: S608
    return f"(SELECT a.* FROM alerts a WHERE {all_of(['a.id >= ?', 'a.id < ?', *conditions])}) a", [*bounds, *values]  # noqa: S608


def oldest(base: sqlite3.Connection) -> int:
    """Return the time of the oldest alert, µs since the epoch."""
    (found,) = base.execute("SELECT min(id) FROM alerts").fetchone()
    return found or 0


def all_of(conditions: Sequence[str]) -> str:
    """Return conditions that must all be true, as one."""
    return " AND ".join(conditions) or "1"
