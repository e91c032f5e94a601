"""What an analyst wants to know first: new groups, and open alerts by priority, tactic, workload, rule and host."""

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from lanner.console.store.listing import choose, groups_of
from lanner.console.store.rows import AlertGroup
from lanner.console.store.selection import AlertSelection
from schemas.catalog.attack import TACTICS, AttackTactic, tactics, tactics_of, techniques

MOST = 8
"""Rows of each part."""
_OPEN = "state = 'open'"


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
