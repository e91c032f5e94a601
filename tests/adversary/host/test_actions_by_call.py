"""Each action that a shipped rule reports is reported by whichever call it is done."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.adversary.host.actions_by_call import ACTIONS, LACKING
from tests.live.needs import lacking
from tests.live.watching import Watch

pytestmark = pytest.mark.live

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def outcome(bytecode: Path) -> Iterator[tuple[Watch, dict[str, str]]]:
    """Perform all actions under the shipped rules, disabled ones included; yield the watch and what failed."""
    with Watch(Path("/run/no-docker.sock"), bytecode, every_rule=True) as watch:
        command = [sys.executable, "-m", "tests.adversary.host.actions_by_call"]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=True)
        yield watch, json.loads(done.stdout)


@pytest.mark.parametrize(
    "number", range(len(ACTIONS)), ids=lambda number: f"{ACTIONS[number].rule} by {ACTIONS[number].call}"
)
def test_an_action_is_reported_by_whichever_call_it_is_done(outcome: tuple[Watch, dict[str, str]], number: int) -> None:
    """By the rule that is about the action."""
    (watch, failed), action = outcome, ACTIONS[number]
    if failed.get(str(number)) == LACKING:
        lacking(f"{action.call}: {LACKING}")
    assert str(number) not in failed, failed[str(number)]

    wanted = {"proc.name": f"action-{number}", "evt.type": action.call}
    alert = watch.find(lambda each: each.rule == action.rule and wanted.items() <= dict(each.event).items())

    assert (alert.event["container.id"] != "host") == (action.where == "container")
