"""The statements of docs/security.md about who can do what, and by which calls, are shown by tests that exist."""

import re
from pathlib import Path

import pytest

from tests.adversary.host.actions_by_call import ACTIONS

ROOT = Path(__file__).parents[2]
WITHOUT_A_TEST = {"the authority's key"}
"""Nothing bounds what these can do."""
TEST = re.compile(r"`([\w/]+\.py)(?:::(test_\w+))?`")


def table(title: str, columns: int) -> list[list[str]]:
    """Return the rows of the table in a section."""
    section = (ROOT / "docs/security.md").read_text().split(f"## {title}\n")[1].split("\n## ")[0]
    cells = [line.strip("|").split("|") for line in section.splitlines() if line.startswith("|")]
    assert {len(row) for row in cells} == {columns}
    return [[cell.strip() for cell in row] for row in cells[2:]]


def rows() -> dict[str, str]:
    """Return who each row of the first table is about, and its tests."""
    return {row[0]: row[-1] for row in table("Who can do what", 5)}


@pytest.mark.parametrize("who", rows())
def test_every_row_names_tests_that_are_there(who: str) -> None:
    """Each by its file and its function, as pytest takes it; the folder is tests/cluster where none is named."""
    assert bool(named_tests(rows()[who])) == (who not in WITHOUT_A_TEST)


def named_tests(cell: str) -> list[tuple[str, str]]:
    """Return the tests that a cell names, all of which are there."""
    named = TEST.findall(cell)
    assert cell == ", ".join(f"`{path}::{name}`" if name else f"`{path}`" for path, name in named)
    for path, name in named:
        file = ROOT / "tests" / (path if "/" in path else f"cluster/{path}")
        assert file.exists(), path
        assert not name or f"\ndef {name}(" in file.read_text(), f"{path} has no {name}"
    return named


def test_every_call_that_does_an_action_is_tried_for_its_rule() -> None:
    """The page lists what the test performs, and nothing else."""
    listed = set()
    for _, calls, rules, cell in table("Actions and the calls that do them", 4):
        tests = {path for path, _ in named_tests(cell)}
        if "adversary/host/test_actions_by_call.py" in tests:
            listed |= {(rule, call) for rule in rules.split(", ") for call in re.findall(r"`(\w+)`", calls)}
        assert tests

    assert listed == {(action.rule, action.call) for action in ACTIONS}
