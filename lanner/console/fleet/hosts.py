"""The states of hosts, and their list with filters. Pure."""

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from lanner.console.fleet.ports import HostsReading, has_name
from lanner.console.store.filters import PageFilter
from lanner.operations.freshness import is_silent
from lanner.recorder.host_tally import FleetHost
from schemas.batch import INCOMPLETE_REASONS

PROBLEMS: Mapping[str, str] = {
    "silent": "It sends nothing, although even an idle host sends a heartbeat every 15 s.",
    "losing": "Events were lost in the last minute: rules may have missed something.",
    "lost earlier": "Events were lost in the last hour, as its alerts say: rules may have missed something.",
    "clock": "Its clock is wrong. Times of its events are corrected.",
    "late": "Its newest batch took more than 5 s to reach the broker.",
    "incomplete": "Facts about processes or containers were left out of its events in the last minute.",
    "outdated": "Its collector is older than this console.",
    "limited": "It doesn't send all event types that the rules name.",
    "stopped": "Its collector was stopped in good order.",
}
"""The states that need attention, worst first."""
LIVE = "live"
STATES = ("all", "problem", *PROBLEMS, LIVE)
_LATE_MS = 5000
_NUMBER = re.compile(r"\d+")


@dataclass(frozen=True, slots=True)
class HostFilter(PageFilter):
    """The selection of the list."""

    PATH = "/hosts"
    ALLOWED: ClassVar[Mapping[str, Collection[str]]] = {"state": STATES}
    state: str = "all"
    name: str = ""
    """Part of the name; `*` matches any text."""


@dataclass(frozen=True, slots=True)
class HostRow:
    """A host with its states."""

    host: FleetHost
    states: tuple[str, ...]
    """Worst first; `live` alone if there is no problem."""
    missing: tuple[str, ...] = ()
    """Event types that rules name and that it doesn't send."""


@dataclass(frozen=True, slots=True)
class HostCriteria:
    """The values that hosts are compared with."""

    read_at: int
    """ms since the epoch."""
    silent_seconds: int
    version: str
    """The version of this console."""
    needed: frozenset[str] = frozenset()
    """Event types that rules name."""
    losing: Collection[str] = frozenset()
    """Names of hosts about which a recent alert reports lost events."""


def host_rows(known: HostsReading, criteria: HostCriteria) -> list[HostRow]:
    """Return the hosts with their states, those with the worst problem first, then by name."""
    order = {state: number for number, state in enumerate((*PROBLEMS, LIVE))}
    rows = [host_row(host, criteria) for host in known.hosts]
    return sorted(rows, key=lambda row: (order[row.states[0]], row.host.name, row.host.id))


def host_row(host: FleetHost, criteria: HostCriteria) -> HostRow:
    """Return a host with its states."""
    watched = None if host.watched is None else {*host.watched, *host.narrowed}
    missing = () if watched is None else tuple(sorted(criteria.needed - watched))
    holds = {
        "silent": is_silent(host, criteria.silent_seconds, criteria.read_at / 1000),
        "stopped": host.is_stopped,
        "losing": host.lost > 0,
        "lost earlier": not host.lost and host.name in criteria.losing,
        "incomplete": any(host.losses.get(reason) for reason in INCOMPLETE_REASONS),
        "clock": host.offset != 0,
        "late": host.lag > _LATE_MS,
        "outdated": _numbers(host.version) < _numbers(criteria.version),
        "limited": bool(missing),
    }
    return HostRow(host, tuple(state for state in PROBLEMS if holds[state]) or (LIVE,), missing)


def selected(rows: Sequence[HostRow], chosen: HostFilter) -> list[HostRow]:
    """Return the hosts that a filter selects."""
    found = [row for row in rows if has_name(row.host.name, chosen.name)]
    if chosen.state == "problem":
        return [row for row in found if row.states != (LIVE,)]
    return [row for row in found if chosen.state in ("all", *row.states)]


def counts(rows: Sequence[HostRow]) -> dict[str, int]:
    """Return the number of hosts in each state; a host may be in several."""
    found = dict.fromkeys(STATES, 0)
    for row in rows:
        for state in row.states:
            found[state] += 1
    found["all"], found["problem"] = len(rows), len(rows) - found[LIVE]
    return found


def _numbers(version: str) -> tuple[int, ...]:
    # A version comes from a host: its length is limited, and so is the number of digits that int takes.
    return tuple(int(each[:9]) for each in _NUMBER.findall(version[:40]))
