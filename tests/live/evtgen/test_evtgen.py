"""Falco's end-to-end cases, carried out on this machine under upstream's rules."""

import pytest

from schemas.alert import Alert
from tests.conformance.cases import Case
from tests.live.evtgen.cases import QUIET_CASES, parameters, read_cases, reason_not_here
from tests.live.evtgen.conftest import Performance
from tests.live.evtgen.stages import Played
from tests.live.needs import lacking

pytestmark = [pytest.mark.live, pytest.mark.containers]


@pytest.mark.parametrize("evtgen_case", parameters(read_cases()))
def test_case_gives_the_alert_that_falco_gives(evtgen_case: Case, request: pytest.FixtureRequest) -> None:
    """The acting process's alert has the rule, source, priority and output fields of the case."""
    performance: Performance = request.getfixturevalue("performance")
    reason = reason_not_here(evtgen_case)
    problem = _problem(evtgen_case, performance)
    if reason is None:
        assert problem is None, problem
    else:
        assert problem is not None, f"listed in not_here.txt ({reason}), yet it gives its alert"
        lacking(reason)


@pytest.mark.parametrize("evtgen_case", QUIET_CASES, ids=lambda case: case["id"])
def test_actor_gives_no_alert_of_its_own(evtgen_case: Case, performance: Performance) -> None:
    """What the runner adds to a case, its processes and their parents, is nothing that a rule minds."""
    assert performance.played[evtgen_case["id"]].calls
    assert performance.alerts_of(evtgen_case["id"]) == []


def test_nothing_is_lost_and_no_rule_fails(performance: Performance) -> None:
    """The collector delivers every event, and every rule evaluates every event."""
    assert performance.lost == {}
    assert performance.faults == {}


def _problem(case: Case, performance: Performance) -> str | None:
    case_id = case["id"]
    if case_id in performance.unplayable:
        return f"the runner can't carry it out: {performance.unplayable[case_id]}"
    if case_id not in performance.played:
        return "nothing was carried out"
    played = performance.played[case_id]
    if played.failures or not played.pids:
        return f"the actor failed: {played}"
    alerts = performance.alerts_of(case_id)
    expect = case["expect"]
    if expect is None:
        return "\n".join(alert.output for alert in alerts if alert.rule == case["rule"]) or None
    found = [alert for alert in alerts if alert.rule == expect["rule"]]
    differences = [_differences(expect, _event_types(case, played), alert) for alert in found]
    if [] in differences and len({alert.event["evt.num"] for alert in found}) == len(found):
        return None
    others = [f"{alert.rule}: {alert.output}" for alert in alerts]
    return "\n".join([f"expected {expect}", f"carried out: {played}", *map(str, differences), "the alerts:", *others])


def _event_types(case: Case, played: Played) -> set[str]:
    """Return the expected event types of the alert: of the steps, else of the calls, else the start of the process."""
    steps = {step["syscall"] for step in case.get("steps") or []}
    return steps or {name for name, _ in played.calls} or {"execve"}


def _differences(expect: Case, event_types: set[str], alert: Alert) -> list[str]:
    found = []
    if alert.event["evt.type"] not in event_types:
        found.append(f"evt.type is {alert.event['evt.type']}")
    for name, value in (("source", alert.source), ("priority", alert.priority)):
        if name in expect and value.lower() != expect[name].lower():
            found.append(f"{name} is {value}")
    for name, expected in (expect.get("outputFields") or {}).items():
        actual = alert.output_fields.get(name)
        if str(actual) != str(expected):
            found.append(f"{name} is {actual!r}, not {expected!r}")
    return found
