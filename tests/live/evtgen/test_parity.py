"""The built-in rules find what Falco's rules find, as the tables in docs/rule-library.md have it."""

import re
from pathlib import Path

import pytest

from tests.conformance.cases import Case
from tests.live.evtgen.cases import CASES, parameters, read_cases, reason_not_here
from tests.live.evtgen.conftest import Performance
from tests.live.needs import lacking
from tests.reference import present

pytestmark = [pytest.mark.live, pytest.mark.containers]

PAGE = Path(__file__).parents[3] / "docs" / "rule-library.md"


def table(head: str = "| Falco | Lanner |") -> dict[str, set[str]]:
    """Return the built-in rules of each row of a table; none where it gives a reason."""
    part = PAGE.read_text().partition(head)[2].partition("\n## ")[0]
    rows = re.findall(r"^\| (.+?) \| (.+?) \|$", part, flags=re.MULTILINE)
    return {name: set() if ours.startswith("none") else set(re.findall(r"\*(.+?)\*", ours)) for name, ours in rows}


def actions() -> dict[str, set[str]]:
    """Return the built-in rules that find each action, by its name."""
    return {name.strip("`"): ours for name, ours in table("| Action | found by |").items()}


def harmless() -> set[str]:
    """Return the actions that the page lists as not reported."""
    part = PAGE.read_text().partition("## Actions that are not reported")[2].partition("\n## ")[0]
    return {
        name for row in re.findall(r"^\| (`.+?) \|", part, flags=re.MULTILINE) for name in re.findall(r"`(.+?)`", row)
    }


def found_cases() -> list[Case]:
    """Return the cases that Falco's rules find and for whose rules the table names built-in ones."""
    names, left_out = table(), harmless()
    return [
        case
        for case in read_cases()
        if case.get("expect") and names[case["expect"]["rule"]] and case["id"].partition("/")[2] not in left_out
    ]


@pytest.mark.parametrize("evtgen_case", parameters(found_cases()))
def test_a_built_in_rule_finds_what_falcos_rule_finds(evtgen_case: Case, request: pytest.FixtureRequest) -> None:
    """The acting process has an alert of a rule that the tables name beside Falco's and beside the action."""
    ours = table()[evtgen_case["expect"]["rule"]] & actions()[evtgen_case["id"].split("/")[1]]
    if (reason := reason_not_here(evtgen_case)) is not None:
        lacking(reason)
    performance: Performance = request.getfixturevalue("own_performance")

    alerts = performance.alerts_of(evtgen_case["id"])

    assert ours & {alert.rule for alert in alerts}, [alert.output for alert in alerts]


def test_the_page_names_each_action() -> None:
    """No action is left out, and none is named that isn't carried out."""
    present(CASES)
    assert {case["id"].split("/")[1] for case in found_cases()} == actions().keys()
