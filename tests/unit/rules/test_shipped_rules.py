"""What the shipped rules match and what leaves them quiet, and what every one of them must have."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.unit.rules.shipped import items, judges, rules

CASES = yaml.safe_load(Path(__file__).with_name("cases.yaml").read_text())["cases"]
CARRIED = (
    *("user.name", "user.uid", "user.loginuid", "proc.name", "proc.exepath", "proc.pname", "proc.cmdline", "proc.tty"),
    *("proc.aname[2]", "proc.aname[3]", "proc.aname[4]", "container.id", "container.name"),
    *("container.image.repository", "container.image.tag", "k8s.pod.name", "k8s.ns.name"),
)
INTRODUCED = {
    "Terminal shell in container": "NOTICE",
    "Read sensitive file untrusted": "WARNING",
    "Read sensitive file trusted after startup": "WARNING",
    "Launch Package Management Process in Container": "ERROR",
    "Read sensitive file refused": "NOTICE",
}


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])
def test_event_matches_exactly_the_rules_named(case: dict[str, Any]) -> None:
    """All rules judge each event, so that no rule speaks of what another one is for."""
    event = {name: value for name, value in case["event"].items() if value is not None}

    assert [name for name, judge in judges().items() if judge(event)] == case["rules"]


@pytest.mark.parametrize("name", rules())
def test_rule_has_a_case_that_it_matches(name: str) -> None:
    """A rule that no event matches would be quiet for ever without anybody noticing."""
    assert any(name in case["rules"] for case in CASES)


@pytest.mark.parametrize(("name", "priority"), INTRODUCED.items())
def test_rules_of_every_introduction_ship(name: str, priority: str) -> None:
    """People look for these by name."""
    assert rules()[name]["priority"] == priority


@pytest.mark.parametrize("name", rules())
def test_output_names_who_did_it_and_where(name: str) -> None:
    """A line has to be enough to know where to look."""
    named = re.findall(r"%([a-z0-9_.]+(?:\[\d+\])?)", rules()[name]["output"])

    assert [field for field in CARRIED if field not in named] == []


@pytest.mark.parametrize("name", rules())
def test_rule_says_what_to_do_about_a_false_positive(name: str) -> None:
    """The description names the place for an exception, and that place exists."""
    places = {item.get("list") or item.get("macro") for item in items() if "rule" not in item}
    named = set(re.findall(r"\bknown_\w+", rules()[name]["desc"]))

    assert named
    assert named <= places


@pytest.mark.parametrize("name", rules())
def test_rule_is_tagged_by_place_and_technique(name: str) -> None:
    """Rules are chosen by tags: host or container, the tactic, the technique."""
    tags = rules()[name]["tags"]

    assert {"host", "container"} & set(tags)
    assert any(tag.startswith("mitre_") for tag in tags)
    assert any(re.fullmatch(r"T\d{4}(\.\d{3})?", tag) for tag in tags)


def test_names_of_processes_fit_the_kernel() -> None:
    """A name of more than 15 bytes is never seen."""
    names = [
        name
        for item in items()
        if str(item.get("list", "")).endswith(("_names", "_managers"))
        for name in item["items"]
    ]
    lists = {item["list"] for item in items() if "list" in item}

    assert [name for name in names if name not in lists and len(name.strip('"')) > 15] == []
