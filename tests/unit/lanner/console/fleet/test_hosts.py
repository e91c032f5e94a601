from typing import Any

import pytest

from lanner.console.fleet.hosts import HostCriteria, HostFilter, counts, host_row, host_rows, selected
from lanner.console.fleet.ports import HostsReading
from lanner.errors import BadRequest
from tests.unit.lanner.console.fleet.hosts import READ_AT, host

CRITERIA = HostCriteria(READ_AT, 120, "0.2.0", frozenset({"execve", "openat"}), frozenset({"web-7"}))


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        ({}, ("live",)),
        ({"seen": READ_AT - 121_000}, ("silent",)),
        ({"seen": READ_AT - 121_000, "is_stopped": True}, ("stopped",)),
        ({"losses": {"process_stale": 1}}, ("incomplete",)),
        ({"losses": {"events_over_share": 5}}, ("losing",)),
        ({"name": "web-7"}, ("lost earlier",)),
        ({"name": "web-7", "losses": {"lifecycle_over_share": 5}}, ("losing",)),
        ({"offset": -6_000_000_000}, ("clock",)),
        ({"lag": 5001}, ("late",)),
        ({"version": "0.1.9"}, ("outdated",)),
        ({"version": "0.2.0"}, ("live",)),
        ({"version": "0.10"}, ("live",)),
        ({"version": "9" * 5000}, ("live",)),
        ({"version": ""}, ("outdated",)),
        ({"watched": ("execve",)}, ("limited",)),
        ({"watched": ("execve",), "narrowed": ("openat",)}, ("live",)),
        ({"watched": None}, ("live",)),
        ({"seen": 0, "offset": 1, "lag": 9000}, ("silent", "clock", "late")),
    ],
)
def test_a_host_has_the_states_of_its_facts(facts: dict[str, Any], expected: tuple[str, ...]) -> None:
    """The worst first; a host that states nothing about event types is not limited."""
    assert host_row(host(**facts), CRITERIA).states == expected


def test_the_missing_event_types_are_named() -> None:
    """Those that rules name and the host doesn't send."""
    assert host_row(host(watched=("execve", "close")), CRITERIA).missing == ("openat",)


def test_hosts_with_problems_come_first_and_are_counted() -> None:
    """A host in two states counts in both."""
    known = HostsReading([host(1), host(2, offset=1, lag=9000), host(3, seen=0), host(4)], READ_AT)
    rows = host_rows(known, CRITERIA)
    assert [row.host.name for row in rows] == ["web-3", "web-2", "web-1", "web-4"]
    assert {name: number for name, number in counts(rows).items() if number} == {
        "all": 4,
        "problem": 2,
        "silent": 1,
        "clock": 1,
        "late": 1,
        "live": 2,
    }
    assert [row.host.name for row in selected(rows, HostFilter(state="problem"))] == ["web-3", "web-2"]
    assert [row.host.name for row in selected(rows, HostFilter(state="late", name="web-*"))] == ["web-2"]
    assert selected(rows, HostFilter(name="db")) == []


def test_a_wrong_state_is_explained() -> None:
    """Other names of the address are ignored."""
    assert HostFilter.read({"state": "silent", "since": "1h"}) == HostFilter(state="silent")
    with pytest.raises(BadRequest, match="state must be one of all, problem, silent"):
        HostFilter.read({"state": "dead"})
