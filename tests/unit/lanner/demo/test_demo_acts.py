"""The actions of the demo and the rules that ship match one to one."""

from functools import cache
from pathlib import Path

import pytest
import yaml

from lanner.demo import ACTS, WITHOUT_ACTION, DemoAction

RULES = Path(__file__).parents[4] / "rules"


@cache
def shipped_priorities() -> dict[str, str]:
    """Return the priority of each shipped rule as it appears in an alert line."""
    items = [item for path in sorted(RULES.rglob("*_rules.yaml")) for item in yaml.safe_load(path.read_text())]
    return {item["rule"]: str(item["priority"]).capitalize() for item in items if "rule" in item}


def test_each_shipped_rule_has_one_act_or_a_reason() -> None:
    """No rule has two actions, and few have none."""
    assert sorted([*(act.rule for act in ACTS), *WITHOUT_ACTION]) == sorted(shipped_priorities())
    assert all(reason.endswith(".") for reason in WITHOUT_ACTION.values())


@pytest.mark.parametrize("act", ACTS, ids=lambda act: act.rule)
def test_act_expects_the_priority_of_its_rule(act: DemoAction) -> None:
    """A changed priority changes the action's expectation too."""
    assert act.priority == shipped_priorities()[act.rule]


@pytest.mark.parametrize("act", ACTS, ids=lambda act: act.rule)
def test_act_states_what_it_does_and_touches(act: DemoAction) -> None:
    """Both are whole sentences, because they are all that a user sees before agreeing."""
    assert act.does.endswith(".")
    assert act.touches.endswith(".")


@pytest.mark.parametrize("act", [act for act in ACTS if "container" in act.does], ids=lambda act: act.rule)
def test_act_in_a_container_states_that_it_needs_docker(act: DemoAction) -> None:
    """Where there is no Docker it is skipped, not failed."""
    assert "docker" in act.needs
