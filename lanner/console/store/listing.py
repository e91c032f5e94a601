"""The list of alerts: a page of groups with their state, the histogram, and facets, all of one selection."""

from collections.abc import Sequence
from typing import Any

from lanner.console.store.filters import group_conditions
from lanner.console.store.record import OTHER_TEXTS
from lanner.console.store.rows import AlertGroup, Bar, Facet, GroupPage, TimeHistogram
from lanner.console.store.selection import MAX_MATCHES, AlertSelection, all_of, oldest
from lanner.console.store.tables import CELL_US, SPAN_US
from schemas.catalog.attack import techniques

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
