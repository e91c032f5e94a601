"""Reads the view: groups, alerts and counts by time. Each call opens the file, so any thread can call it."""

import sqlite3
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from itertools import starmap
from pathlib import Path
from typing import Any

from lanner.console.store.filters import ALL_TIME, Filters, group_conditions
from lanner.console.store.listing import Overview, facets_of, histogram_of, listed_groups, overview_of
from lanner.console.store.record import unpacked
from lanner.console.store.rows import (
    AlertLine,
    AllRuleActivity,
    Facet,
    GroupDetail,
    GroupPage,
    Mark,
    RuleActivity,
    TimeHistogram,
)
from lanner.console.store.selection import alerts_source, all_of, oldest, select
from lanner.console.store.tables import reading
from notifier.formats.phrases import sentence
from schemas.alert import Alert, BadAlert
from schemas.catalog.priorities import Priority

PAGE = 50
"""Groups on one page."""
MAX_HOSTS = 50
_MAX_NAMES = 200


class AlertReader:
    """Answers questions about the alerts that the view contains."""

    def __init__(self, path: Path) -> None:
        """Read the view at a path, which must exist when something is read."""
        self._path = path

    def _rows(self, query: str, values: Sequence[Any] = ()) -> list[Any]:
        with reading(self._path) as base:
            return base.execute(query, values).fetchall()

    def groups(self, filters: Filters, now: int, *, offset: int = 0, limit: int = PAGE) -> GroupPage:
        """Return a page of the groups that match. now: ns since the epoch. Raises OSError."""
        with reading(self._path) as base:
            return listed_groups(select(base, filters, now), now, offset=offset, limit=limit)

    def group(self, key: str, filters: Filters, now: int) -> GroupDetail | None:
        """Return a group with its counts in the time range of filters, or in all time if it has none there."""
        with reading(self._path) as base:
            found = base.execute("SELECT id, description, response FROM groups WHERE key = ?", (key,)).fetchone()
            if found is None:
                return None
            in_range = Filters(state="all", since=filters.since, until=filters.until)
            page = listed_groups(select(base, in_range, now), now, key=key)
            if not page.groups:
                page = listed_groups(select(base, Filters(state="all", since=ALL_TIME), now), now, key=key)
            if not page.groups:
                return None
            hosts = base.execute(
                "SELECT value FROM group_hosts JOIN texts ON texts.id = host WHERE grp = ? ORDER BY last DESC LIMIT ?",
                (found[0], MAX_HOSTS),
            )
            names = [value for (value,) in hosts]
            return GroupDetail(page.groups[0], found[1], found[2], names, _marks(base, f"group:{key}"))

    def alerts(
        self, key: str, filters: Filters, now: int, *, before: int | None = None, limit: int = PAGE
    ) -> Sequence[AlertLine]:
        """Return a group's alerts that match, or with an empty key those of all groups, newest first. Raises OSError.

        now: ns since the epoch; before: the time of the last alert of the page before, µs.
        """
        span = filters.span(now)
        if before is not None:
            span = replace(span, until=min(before, span.until or before))
        with reading(self._path) as base:
            source, values = alerts_source(filters, span)
            conditions, more = group_conditions(filters)
            if key:
                conditions, more = ["g.key = ?"], [key]
            rows = base.execute(
                "SELECT b.uid, a.id, h.value, u.value, n.value, g.rule, g.priority, b.text, b.data "  # noqa: S608  bound
                f"FROM {source} JOIN groups g ON g.id = a.grp JOIN bodies b ON b.id = a.id "
                "JOIN texts h ON h.id = a.host JOIN texts u ON u.id = a.user JOIN texts n ON n.id = a.namespace "
                f"WHERE {all_of(conditions)} ORDER BY a.id DESC LIMIT ?",
                (*values, *more, limit),
            )
            return [
                AlertLine(
                    uid,
                    time,
                    host,
                    user,
                    namespace,
                    rule,
                    str(Priority(priority)),
                    _headline(data),
                    text.partition("\n")[0],
                )
                for uid, time, host, user, namespace, rule, priority, text, data in rows
            ]

    def alert(self, uid: str) -> tuple[Alert, str] | None:
        """Return an alert and the key of its group; None if the view doesn't have it. Raises OSError and BadAlert."""
        rows = self._rows(
            "SELECT b.data, g.description, g.response, g.key FROM bodies b JOIN alerts a ON a.id = b.id "
            "JOIN groups g ON g.id = a.grp WHERE b.uid = ?",
            (uid,),
        )
        return (unpacked(*rows[0][:3]), rows[0][3]) if rows else None

    def marked_as_real(self, limit: int) -> frozenset[str]:
        """Return the ids of alerts that people commented or whose group is assigned. Raises OSError."""
        rows = self._rows(
            "SELECT substr(subject, 7) FROM marks WHERE subject LIKE 'alert:%' UNION "
            "SELECT b.uid FROM marks m JOIN groups g ON m.subject = 'group:' || g.key "
            "JOIN alerts a ON a.grp = g.id JOIN bodies b ON b.id = a.id "
            "WHERE m.field = 'assignee' OR m.field LIKE 'comment/%' LIMIT ?",
            (limit,),
        )
        return frozenset(uid for (uid,) in rows)

    def whole_alerts(self, hosts: Sequence[str], since: int, until: int, limit: int) -> Sequence[Alert]:
        """Return the alerts of hosts in a time range, oldest first. Raises OSError and BadAlert.

        Hosts are named, or have an id; since, until: ns since the epoch, the end included.
        """
        rows = self._rows(
            "SELECT b.data, g.description, g.response FROM alerts a JOIN bodies b ON b.id = a.id "  # noqa: S608
            "JOIN groups g ON g.id = a.grp "
            f"WHERE a.host IN (SELECT id FROM texts WHERE value IN ({_places(hosts)})) AND a.id BETWEEN ? AND ? "
            "ORDER BY a.id LIMIT ?",
            (*hosts, since // 1000, until // 1000, limit),
        )
        return [unpacked(*row) for row in rows]

    def alerts_of_rule(self, rule: str, since: int, limit: int) -> Iterator[tuple[Alert, str]]:
        """Yield a rule's alerts since a time, ns, each with its group's key, newest first. Raises OSError, BadAlert."""
        with reading(self._path) as base:
            rows = base.execute(
                "SELECT b.data, g.description, g.response, g.key FROM (SELECT id, grp FROM alerts WHERE id >= ? AND "
                "grp IN (SELECT id FROM groups WHERE rule = ?) ORDER BY id DESC LIMIT ?) a "
                "JOIN bodies b ON b.id = a.id JOIN groups g ON g.id = a.grp ORDER BY a.id DESC",
                (since // 1000, rule, limit),
            )
            for row in rows:
                yield unpacked(*row[:3]), row[3]

    def marks_of_rule(self, rule: str) -> Mapping[str, Sequence[Mark]]:
        """Return what people decided about the groups and alerts of a rule, by subject. Raises OSError."""
        found: dict[str, list[Mark]] = {}
        rows = self._rows(
            "SELECT subject, field, value, author, at FROM marks m WHERE EXISTS (SELECT 1 FROM groups g WHERE "
            "g.key = substr(m.subject, 7) AND g.rule = ?1 AND m.subject GLOB 'group:*') OR EXISTS (SELECT 1 FROM "
            "bodies b JOIN alerts a ON a.id = b.id JOIN groups g ON g.id = a.grp WHERE "
            "b.uid = substr(m.subject, 7) AND g.rule = ?1 AND m.subject GLOB 'alert:*') ORDER BY at",
            (rule,),
        )
        for mark in starmap(Mark, rows):
            found.setdefault(mark.subject, []).append(mark)
        return found

    def group_text(self, key: str) -> str | None:
        """Return the text of a group; None if the view doesn't have it. Raises OSError."""
        rows = self._rows("SELECT text FROM groups WHERE key = ?", (key,))
        return str(rows[0][0]) if rows else None

    def marks(self, subject: str) -> Sequence[Mark]:
        """Return what people decided about a group or an alert, oldest first. Raises OSError."""
        with reading(self._path) as base:
            return _marks(base, subject)

    def histogram(self, filters: Filters, now: int) -> TimeHistogram:
        """Return the alerts that match by time and priority. Raises OSError."""
        with reading(self._path) as base:
            return histogram_of(select(base, filters, now))

    def listed(
        self, filters: Filters, now: int, *, offset: int = 0
    ) -> tuple[GroupPage, TimeHistogram, Sequence[Facet]]:
        """Return a page of groups, the alerts by time and their facets, which look at the alerts once together.

        Raises OSError.
        """
        with reading(self._path) as base:
            selection = select(base, filters, now)
            page = listed_groups(selection, now, offset=offset, limit=PAGE)
            return page, histogram_of(selection), facets_of(selection, page.alerts)

    def overview(self, filters: Filters, seen: int, now: int) -> Overview:
        """Return what is new since a time, µs, and the open alerts of filters, whose state is `all`. Raises OSError."""
        with reading(self._path) as base:
            return overview_of(select(base, filters, now), seen, now)

    def facets(self, filters: Filters, now: int) -> Sequence[Facet]:
        """Return the most frequent values of filters among the alerts that match. Raises OSError."""
        with reading(self._path) as base:
            selection = select(base, filters, now)
            return facets_of(selection, listed_groups(selection, now).alerts)

    def names(self) -> dict[str, list[str]]:
        """Return the rules, workloads, tags and hosts that the view has, to offer them as filters. Raises OSError."""
        queries = {
            "rule": "SELECT rule FROM groups GROUP BY rule ORDER BY max(last) DESC LIMIT ?",
            "workload": "SELECT workload FROM groups GROUP BY workload ORDER BY max(last) DESC LIMIT ?",
            "tag": "SELECT tag FROM tags GROUP BY tag ORDER BY tag LIMIT ?",
            "host": "SELECT value FROM texts WHERE EXISTS (SELECT 1 FROM alerts WHERE host = texts.id) LIMIT ?",
        }
        with reading(self._path) as base:
            return {name: [value for (value,) in base.execute(query, (_MAX_NAMES,))] for name, query in queries.items()}

    def is_empty(self) -> bool:
        """Return whether the view has no alert. Raises OSError."""
        return not self._rows("SELECT 1 FROM alerts LIMIT 1")

    def hosts_of_rules(self, rules: Collection[str], since: int) -> frozenset[str]:
        """Return the hosts about which a rule alerted since a time, µs. Raises OSError."""
        rows = self._rows(
            "SELECT DISTINCT t.value FROM groups g JOIN group_hosts h ON h.grp = g.id "  # noqa: S608  bound
            f"JOIN texts t ON t.id = h.host WHERE g.rule IN ({_places(rules)}) AND h.last >= ?",
            (*rules, since),
        )
        return frozenset(name for (name,) in rows)

    def alerts_of_hosts(self, hosts: Collection[str], since: int) -> dict[str, int]:
        """Return the number of alerts of each host since a time, µs. Raises OSError."""
        rows = self._rows(
            "SELECT t.value, count(*) FROM texts t JOIN alerts a ON a.host = t.id "  # noqa: S608  bound
            f"WHERE t.value IN ({_places(hosts)}) AND a.id >= ? GROUP BY t.id",
            (*hosts, since),
        )
        return dict(rows)

    def rules(self, since: str, now: int) -> AllRuleActivity:
        """Return the alerts of each rule since a time, given as a filter. Raises OSError and BadRequest."""
        with reading(self._path) as base:
            selection = select(base, Filters(state="all", since=since), now)
            counts, values = selection.counts()
            rows = base.execute(
                "SELECT g.rule, min(g.priority), sum(coalesce(c.n, 0)), max(g.last) FROM groups g "  # noqa: S608  bound
                f"LEFT JOIN ({counts}) c ON c.grp = g.id GROUP BY g.rule",
                values,
            )
            sparks = selection.rule_sparklines()
            found = {
                rule: RuleActivity(rule, str(Priority(priority)), count, last, sparks.get(rule, ()))
                for rule, priority, count, last in rows
            }
            first = oldest(base)
            return AllRuleActivity(max(selection.span.since, first), selection.until, found, first)

    def newest_of_rule(self, rule: str, limit: int) -> Sequence[Alert]:
        """Return the newest alerts of a rule, newest first. Raises OSError."""
        rows = self._rows(
            "SELECT b.data FROM alerts a JOIN groups g ON g.id = a.grp JOIN bodies b ON b.id = a.id "
            "WHERE g.rule = ? ORDER BY a.id DESC LIMIT ?",
            (rule, limit),
        )
        found = []
        for (data,) in rows:
            with suppress(BadAlert):
                found.append(unpacked(data, "", ""))
        return found

    def stored(self) -> int:
        """Return how many alerts the view contains. Raises OSError."""
        count: int = self._rows("SELECT coalesce(sum(count), 0) FROM groups")[0][0]
        return count


def _headline(data: bytes) -> str:
    try:
        alert = unpacked(data, "", "")
    except BadAlert:
        return ""
    return sentence(alert)


def _places(values: Collection[str]) -> str:
    """Return a placeholder for each value."""
    return ", ".join("?" * len(values))


def _marks(base: sqlite3.Connection, subject: str) -> list[Mark]:
    rows = base.execute("SELECT subject, field, value, author, at FROM marks WHERE subject = ? ORDER BY at", (subject,))
    return list(starmap(Mark, rows))
