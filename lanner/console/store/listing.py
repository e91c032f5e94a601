"""The list of alerts and the overview.

The list is a page of groups with their state, the histogram, and facets, all of one selection. The overview is what an
analyst wants to know first: new groups, and open alerts by priority, tactic, workload, rule and host.
"""

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from lanner.console.store.filters import group_conditions
from lanner.console.store.record import OTHER_TEXTS
from lanner.console.store.rows import AlertGroup, Bar, Facet, GroupPage, TimeHistogram
from lanner.console.store.selection import MAX_MATCHES, AlertSelection, all_of, oldest
from lanner.console.store.tables import CELL_US, SPAN_US
from schemas.catalog.attack import TACTICS, AttackTactic, tactics, tactics_of, techniques

FACET_VALUES = 8
MAX_FACETED = 100_000
"""Hosts, images, namespaces and users are counted in so many of the newest alerts."""
_BARS = 60
_DAY_NS = 86_400_000_000_000
_DETAIL = 1_000_000
"""µs; below ten minutes, counts by time are made from the alerts themselves."""
_SORTS = {"last": "newest DESC", "count": "n DESC", "priority": "priority, newest DESC", "first": "first DESC"}
_STATE = """
CASE WHEN CAST(muted.value AS INTEGER) > :now THEN 'muted'
     WHEN CAST(seen.value AS INTEGER) / 1000 >= c.last THEN 'acknowledged' ELSE 'open' END"""
_MARKS = f"""
LEFT JOIN marks seen ON seen.subject = 'group:' || g.key AND seen.field = 'acknowledged'
LEFT JOIN marks muted ON muted.subject = 'group:' || g.key AND muted.field = 'muted_until' AND g.text <> '{OTHER_TEXTS}'
LEFT JOIN marks assigned ON assigned.subject = 'group:' || g.key AND assigned.field = 'assignee'"""
MOST = 8
"""Rows of each part."""
_OPEN = "state = 'open'"


def histogram_of(selection: AlertSelection) -> TimeHistogram:
    """Return the alerts by time and priority."""
    until = selection.until
    since = min(selection.span.since or oldest(selection.base) or until - CELL_US, until - _BARS)
    step = _step(until - since)
    first = since // step
    counts: list[dict[int, int]] = [{} for _ in range((until - 1) // step - first + 1)]
    for number, priority, count in selection.priorities(step):
        if 0 <= number - first < len(counts):
            counts[number - first][priority] = count
    return TimeHistogram(since, until, [Bar((first + number) * step, each) for number, each in enumerate(counts)])


def facets_of(selection: AlertSelection, alerts: int) -> Sequence[Facet]:
    """Return the facets of the groups in the table `chosen`, which `listed_groups` made. alerts: their number."""
    base = selection.base
    most = (FACET_VALUES,)
    rules = base.execute(
        "SELECT rule, sum(n) FROM chosen JOIN groups USING (id) GROUP BY rule ORDER BY 2 DESC, 1 LIMIT ?", most
    ).fetchall()
    tags = base.execute(
        "SELECT tag, sum(n) FROM chosen JOIN tags ON grp = id WHERE tag GLOB 'T[0-9]*' GROUP BY tag ORDER BY 2 DESC, 1"
    )
    found = {"rule": rules, "technique": [row for row in tags if techniques((row[0],))][:FACET_VALUES]}
    source, values = selection.of_groups("chosen", alerts, MAX_FACETED)
    base.execute(f"CREATE TEMP TABLE faceted AS SELECT host, image, namespace, user FROM {source}", values)  # noqa: S608
    for name in ("host", "image", "namespace", "user"):
        found[name] = base.execute(
            f"SELECT value, number FROM (SELECT {name} AS id, count(*) AS number FROM faceted GROUP BY 1) "  # noqa: S608
            "JOIN texts USING (id) WHERE value <> '' ORDER BY 2 DESC, 1 LIMIT ?",
            most,
        ).fetchall()
    return [Facet(name, rows) for name, rows in found.items() if rows]


def choose(selection: AlertSelection, now: int, key: str = "") -> tuple[int, int]:
    """Make the table `chosen` of the groups that match; return their number and that of their alerts.

    now: ns since the epoch; key: of the only group to choose, if there is one.
    """
    base, filters = selection.base, selection.filters
    counts, values = selection.counts()
    conditions, more = group_conditions(filters)
    if key:
        conditions.append("g.key = ?")
        more.append(key)
    base.execute("DROP TABLE IF EXISTS temp.chosen")
    inner = (
        f"SELECT g.id, c.n AS n, c.last AS newest, {_STATE.replace(':now', str(now))} AS state, "  # noqa: S608  bound
        "coalesce(assigned.value, '') AS assignee, coalesce(CAST(muted.value AS INTEGER), 0) AS muted_until "
        f"FROM ({counts}) c JOIN groups g ON g.id = c.grp {_MARKS} WHERE {all_of(conditions)}"
    )
    shown = "" if filters.state == "all" else f"WHERE state = '{filters.state}'"
    base.execute(f"CREATE TEMP TABLE chosen AS SELECT * FROM ({inner}) {shown}", (*values, *more))  # noqa: S608
    total, alerts = base.execute("SELECT count(*), coalesce(sum(n), 0) FROM chosen").fetchone()
    return total, alerts


def groups_of(
    selection: AlertSelection,
    now: int,
    order: str,
    *,
    limit: int,
    offset: int = 0,
    where: str = "1",
    values: Sequence[int] = (),
) -> list[AlertGroup]:
    """Return groups of the table `chosen` in an order of SQL. where, values: a condition. now: ns since the epoch."""
    rows = selection.base.execute(
        "SELECT id, key, rule, workload, text, priority, tags, n, first, newest, sample, action, place, state, "  # noqa: S608
        f"assignee, muted_until FROM chosen JOIN groups USING (id) WHERE {where} ORDER BY {order} LIMIT ? OFFSET ?",
        (*values, limit, offset),
    ).fetchall()
    ids = [row[0] for row in rows]
    sparks, hosts = selection.sparklines(ids), selection.hosts(ids)
    return [_group(row, hosts.get(row[0], 0), sparks.get(row[0], ()), now) for row in rows]


def listed_groups(selection: AlertSelection, now: int, *, offset: int = 0, limit: int = 1, key: str = "") -> GroupPage:
    """Return a page of the groups that match; the table `chosen` then contains all of them. now: ns."""
    filters = selection.filters
    total, alerts = choose(selection, now, key)
    groups = groups_of(selection, now, f"{_SORTS[filters.sort]}, key", limit=limit, offset=offset)
    return GroupPage(groups, total, alerts, bool(filters.q) and alerts >= MAX_MATCHES)


def _group(row: tuple[Any, ...], hosts: int, sparkline: tuple[int, ...], now: int) -> AlertGroup:
    _, key, rule, workload, text, priority, tags, count, first, last, *more = row
    sample, action, place, state, assignee, muted = more
    return AlertGroup(
        key,
        rule,
        workload,
        text,
        priority,
        tuple(tags.split("\n") if tags else ()),
        count,
        hosts,
        first,
        last,
        sample,
        action,
        place,
        is_new=first * 1000 >= now - _DAY_NS,
        state=state,
        assignee=assignee,
        muted_until=muted if muted > now else 0,
        sparkline=sparkline,
    )


def _step(length: int) -> int:
    """Return the length of a bar for a time range, µs: at most sixty bars, of whole spans, cells or seconds."""
    step = max(length // _BARS, 1)
    unit = next((unit for unit in (SPAN_US, CELL_US) if step >= unit // 2), _DETAIL)
    return -(-step // unit) * unit


@dataclass(frozen=True, slots=True)
class AlertTotal:
    """The open alerts of a workload, or all alerts of a rule."""

    name: str
    alerts: int
    groups: int
    priority: int
    """The most severe one."""


@dataclass(frozen=True, slots=True)
class TacticActivity:
    """The open alerts of a tactic."""

    tactic: AttackTactic
    alerts: int
    priority: int
    """The most severe one; 7 without alerts."""
    techniques: Sequence[tuple[str, str, int]]
    """Id, name and alerts of the most frequent ones."""


@dataclass(frozen=True, slots=True)
class HostRisk:
    """A host with open alerts."""

    name: str
    score: int
    """Each rule counts once: 2 for Notice and below, 4 for Warning, 8 for Error, and so on."""
    rules: int
    priority: int
    """The most severe one."""
    last: int
    """Time of the newest one, µs since the epoch."""


@dataclass(frozen=True, slots=True)
class Overview:
    """The state of all alerts in a time range."""

    groups: int
    alerts: int
    priorities: Sequence[AlertTotal]
    """By priority, the most severe first; open alerts only."""
    new: Sequence[AlertGroup]
    """Open groups that were first seen since a time, the most severe first."""
    new_total: int
    tactics: Sequence[TacticActivity]
    """All of them, in the order of the matrix."""
    workloads: Sequence[AlertTotal]
    rules: Sequence[AlertTotal]
    hosts: Sequence[HostRisk]
    risky: int
    """Hosts with open alerts."""


def overview_of(selection: AlertSelection, seen: int, now: int) -> Overview:
    """Return the overview of a selection of all states. seen: µs since the epoch; now: ns."""
    base = selection.base
    groups, alerts = choose(selection, now)
    chosen = "FROM chosen JOIN groups USING (id) WHERE"
    # If their most severe alerts have one priority, what has most alerts comes first.
    ranked = "GROUP BY 1 ORDER BY min(priority), sum(n) DESC, 1 LIMIT ?"
    (new_total,) = base.execute(f"SELECT count(*) {chosen} {_OPEN} AND first >= ?", (seen,)).fetchone()
    new = groups_of(
        selection, now, "priority, newest DESC, key", limit=MOST, where=f"{_OPEN} AND first >= ?", values=(seen,)
    )
    names = "sum(n), count(*), min(priority)"
    priorities = base.execute(f"SELECT priority, {names} {chosen} {_OPEN} GROUP BY 1 ORDER BY 1").fetchall()
    workloads = base.execute(f"SELECT workload, {names} {chosen} {_OPEN} {ranked}", (MOST,)).fetchall()
    rules = base.execute(
        f"SELECT rule, {names} {chosen} 1 GROUP BY 1 ORDER BY sum(n) DESC, 1 LIMIT ?", (MOST,)
    ).fetchall()
    hosts, risky = _hosts(base, selection.span.since)
    return Overview(
        groups,
        alerts,
        [AlertTotal(str(priority), *counts) for priority, *counts in priorities],
        new,
        new_total,
        _tactics(base.execute(f"SELECT tags, {names} {chosen} {_OPEN} GROUP BY tags").fetchall()),
        [AlertTotal(*row) for row in workloads],
        [AlertTotal(*row) for row in rules],
        hosts,
        risky,
    )


def _hosts(base: sqlite3.Connection, since: int) -> tuple[list[HostRisk], int]:
    """Return the hosts of the highest score, and the number of all; since: µs."""
    of_rules = (
        "SELECT host, rule, min(priority) AS priority, max(h.last) AS newest FROM chosen "  # noqa: S608  a condition
        f"JOIN groups USING (id) JOIN group_hosts h ON h.grp = chosen.id WHERE {_OPEN} AND h.last >= ? GROUP BY 1, 2"
    )
    rows = base.execute(
        "SELECT value, score, rules, priority, newest, count(*) OVER () FROM (SELECT host AS id, "  # noqa: S608  bound
        "sum(1 << max(6 - priority, 1)) AS score, count(*) AS rules, min(priority) AS priority, max(newest) AS newest "
        f"FROM ({of_rules}) GROUP BY host) JOIN texts USING (id) WHERE value <> '' "
        "ORDER BY score DESC, newest DESC LIMIT ?",
        (since, MOST),
    ).fetchall()
    return [HostRisk(*row[:5]) for row in rows], rows[0][5] if rows else 0


def _tactics(rows: Sequence[tuple[Any, ...]]) -> list[TacticActivity]:
    """Return the alerts by tactic, given tags, alerts, groups and priority of what has the same tags."""
    counts = dict.fromkeys(TACTICS, 0)
    priorities = dict.fromkeys(TACTICS, 7)
    cells: dict[str, dict[tuple[str, str], int]] = {each: {} for each in TACTICS}
    for text, alerts, _, priority in rows:
        tags = text.split("\n")
        named, used = {each.id for each in tactics(tags)}, techniques(tags)
        # A technique may be of several tactics; the rule names the one that it is used for.
        for tactic in named or {tactic for each in used for tactic in tactics_of(each.id)}:
            counts[tactic] += alerts
            priorities[tactic] = min(priorities[tactic], priority)
            for each in used:
                if tactic in tactics_of(each.id):
                    cell = (each.id, each.name)
                    cells[tactic][cell] = cells[tactic].get(cell, 0) + alerts
    return [TacticActivity(tactic, counts[key], priorities[key], _most(cells[key])) for key, tactic in TACTICS.items()]


def _most(cells: dict[tuple[str, str], int]) -> list[tuple[str, str, int]]:
    ordered = sorted(cells.items(), key=lambda each: (-each[1], each[0]))
    return [(*cell, alerts) for cell, alerts in ordered[:3]]
