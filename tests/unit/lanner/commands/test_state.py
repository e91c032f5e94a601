"""The commands about what stateful rules remember, on the files of `lanner run`."""

import json
from pathlib import Path

import pytest

from foundation.text import ignore_note
from lanner.known_state.host import StatefulEvaluator, WallClock
from tests.unit.lanner.program import lanner
from tests.unit.processor.correlation.rules import NEW_PROGRAM, SSH, START, Host, rule, ruleset_of

RULES = NEW_PROGRAM + SSH + rule("new_program", name="New") + rule("many_ssh_connections", name="Many")


@pytest.fixture
def arguments(tmp_path: Path) -> list[str]:
    """Return the options for a host that knows two programs and one window."""
    file, memory = tmp_path / "rules.yaml", tmp_path / "memory"
    file.write_text(RULES)
    evaluator = StatefulEvaluator(
        ruleset_of(RULES), memory, note=ignore_note, clock=WallClock(lambda: START, lambda: 0)
    )
    host = Host()
    for batch in (host.run(0, "sh"), host.run(0, "curl"), host.accept(0)):
        evaluator.process(batch)
    evaluator.save()
    return ["-r", str(file), "-o", f"memory.filename={memory}"]


def test_list_shows_groups_and_values_of_each_macro(arguments: list[str]) -> None:
    """As a table, and as JSON."""
    lines = lanner("state", "list", *arguments).stdout.splitlines()
    rows = [json.loads(line) for line in lanner("state", "list", "--format", "json", *arguments).stdout.splitlines()]

    assert [line.split() for line in lines[1:]] == [
        ["new_program", "first_seen", "1", "2", "0", "0"],
        ["many_ssh_connections", "event_count", "1", "-", "-", "-"],
    ]
    assert [(row["name"], row["groups"], row["values"]) for row in rows] == [
        ("new_program", 1, 2),
        ("many_ssh_connections", 1, 0),
    ]


def test_show_lists_the_values_of_a_group(arguments: list[str]) -> None:
    """Each with the time of its newest sighting; another macro or group is an error or nothing."""
    rows = lanner("state", "show", "new_program", "--format", "json", *arguments).stdout.splitlines()

    assert json.loads(rows[0]) == {
        "group": ["3d09256ebd53"],
        "value": ["curl", "/tmp/curl"],
        "seen": "2026-11-24T14:20:00.000000000Z",
    }
    assert len(rows) == 2
    assert lanner("state", "show", "new_program", "--group", "other", *arguments).stdout == ""
    two = lanner("state", "show", "new_program", "--group", "other", "--group", "more", *arguments)
    assert "--group: new_program is grouped by container.id: one each." in two.stderr
    wrong = lanner("state", "show", "many_ssh_connections", *arguments)
    assert "is of type event_count" in wrong.stderr
    unknown = lanner("state", "show", "new_programm", *arguments)
    assert "they use: many_ssh_connections, new_program" in unknown.stderr


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ([], ""),
        (["--group", "g", "--value", "sh", "--value", "/tmp/sh"], ""),
        (["--group", "g", "--group", "h"], "--group: new_program is grouped by container.id: one each."),
        (["--group", "g", "--value", "sh"], "--value: new_program knows values of proc.name, proc.exepath"),
        (["--value", "sh", "--value", "/tmp/sh"], "--value: add --group for container.id."),
    ],
)
def test_reset_requires_complete_groups_and_values(
    arguments: list[str], tmp_path: Path, options: list[str], expected: str
) -> None:
    """A request is written, or an error states what is missing."""
    result = lanner("state", "reset", "new_program", *options, *arguments)

    assert expected in result.stderr
    assert (tmp_path / "memory.reset").exists() is (not expected)


def test_a_host_without_state_is_reported(arguments: list[str], tmp_path: Path) -> None:
    """With where it would be."""
    (tmp_path / "memory").unlink()

    assert "memory: no such file: `lanner run` stores there" in lanner("state", "list", *arguments).stderr
