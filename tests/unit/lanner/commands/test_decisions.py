"""What people decide about actions, on the file that `lanner run` writes."""

import json
import os
import time
from dataclasses import replace
from pathlib import Path

import pytest

from lanner.actions.book import ActionBook
from lanner.actions.one_host import LocalActionRecords
from processor.actions.policies import BLOWN
from schemas.action import ActionIntent, ActionResult
from tests.unit.lanner.program import lanner

INTENT = ActionIntent(
    id="0191-one", type="freeze", target="container", host_id="h", hostname="web-3", state="ask", lease=900_000_000_000,
    text="container \x1b[31mweb", created=1, approvals=1, container_id="3f2", policy="Freeze shells", rule="Shell",
)  # fmt: skip
DONE = ActionResult("0191-one", "h", "web-3", "done", "froze 3 processes", 3)


@pytest.fixture
def records(tmp_path: Path) -> LocalActionRecords:
    """Return the records of a host with one action that waits."""
    made = LocalActionRecords(tmp_path, creates=True)
    made.write(INTENT)
    return made


def actions(folder: Path, *arguments: str) -> tuple[int, str, str]:
    """Run a command on these records; return exit code, output and errors."""
    done = lanner("actions", *arguments, "-o", f"actions.state_dir={folder}")
    return done.returncode, done.stdout, done.stderr


def logged(folder: Path) -> list[dict[str, object]]:
    """Return the actions as `log` prints them."""
    return [json.loads(line) for line in actions(folder, "log", "--format", "json")[1].splitlines()]


def test_an_action_is_approved_then_extended_and_undone(tmp_path: Path, records: LocalActionRecords) -> None:
    """An id may be abbreviated; what was decided before can't be decided again."""
    assert "\\x1b[31mweb" in actions(tmp_path, "pending")[1]
    assert actions(tmp_path, "undo", "0191")[2].endswith("nothing was done yet: approve or reject it.\n")
    code, output, _ = actions(tmp_path, "approve", "0191", "--wait", "0")
    assert (code, output.split(":")[0]) == (0, "sent")
    assert "No action waits" in actions(tmp_path, "pending")[1]
    assert "it needs no approval any longer" in actions(tmp_path, "reject", "0191")[2]

    records.write(DONE)
    assert actions(tmp_path, "extend", "0191", "--lease", "1h", "--wait", "0")[0] == 0
    assert "for at most 7d" in actions(tmp_path, "extend", "0191", "--lease", "8d")[2]
    assert actions(tmp_path, "undo", "0191", "--wait", "0")[0] == 0
    records.write(replace(DONE, outcome="undone", text="thawed"))
    assert "it was undone: thawed" in actions(tmp_path, "undo", "0191")[2]
    (found,) = logged(tmp_path)
    assert (found["state"], found["why"]) == ("undone", "thawed")
    assert [each["type"] for each in found["decisions"]] == ["approve", "extend", "undo"]  # type: ignore[attr-defined]


def test_what_is_not_possible_is_an_error_that_states_why(tmp_path: Path, records: LocalActionRecords) -> None:
    """Unknown and ambiguous ids, a second approval of the same person, an expired action, and no records at all."""
    records.write(replace(INTENT, id="0191-two", approvals=2))
    records.write(replace(INTENT, id="expired", wait=0))
    records.write(replace(INTENT, id="kill", type="kill", target="process", pid=5, start_time=7, lease=0, state="do"))
    assert actions(tmp_path, "approve", "9")[2] == "error: no action has the id 9.\n"
    assert "2 ids begin with 0191" in actions(tmp_path, "approve", "0191")[2]
    assert actions(tmp_path, "approve", "0191-two")[1].startswith("waiting: ")
    assert "it needs 2 different persons" in actions(tmp_path, "approve", "0191-two")[2]
    assert "its time to be approved has passed" in actions(tmp_path, "approve", "expired")[2]
    assert "nothing undoes a kill" in actions(tmp_path, "undo", "kill")[2]
    for command in (["log"], ["do", "lock", "--user", "nobody", "--yes"]):
        assert "there are no records of actions" in actions(tmp_path / "none", *command)[2]


def test_all_actions_are_stopped_and_resumed_and_a_fuse_is_reset(tmp_path: Path, records: LocalActionRecords) -> None:
    """Without a terminal, only with --yes; what lasts is undone with --undo."""
    records.write(DONE)
    records.write(replace(INTENT, id="blown", refusal=BLOWN))
    assert "actions aren't stopped" in actions(tmp_path, "resume", "--yes")[2]
    assert "add --yes" in actions(tmp_path, "stop")[2]
    assert "undoing 1 action;" in actions(tmp_path, "stop", "--yes", "--undo")[1]
    assert "lanner actions resume" in actions(tmp_path, "log")[2]
    assert "Freeze shells: the fuse has blown" in actions(tmp_path, "log")[2]
    assert "stopped all actions at" in actions(tmp_path, "stop", "--yes")[2]
    assert actions(tmp_path, "resume", "--yes")[0] == 0
    assert "policies that have: Freeze shells" in actions(tmp_path, "reset", "Other")[2]
    assert actions(tmp_path, "reset", "Freeze shells")[0] == 0
    book = ActionBook()
    records.update(book)
    assert (book.stop, book.blown) == (None, [])
    assert [each.type for each in book.actions[-1].decisions] == ["undo"]


def test_a_person_acts_by_hand_on_a_process_of_this_host(tmp_path: Path, records: LocalActionRecords) -> None:
    """It is identified by its start time too; what nobody should act on is refused, and so is a target that isn't."""
    code, output, errors = actions(tmp_path, "do", "kill", "--pid", str(os.getpid()), "--yes", "--wait", "0")
    assert code == 0, errors
    assert f"kill process {os.getpid()} (" in output
    book = ActionBook()
    records.update(book)
    intent = book.actions[0].intent
    assert (intent.state, intent.policy, intent.by.endswith(intent.hostname)) == ("do", "", True)
    assert 0 < time.time_ns() - intent.start_time < 86_400_000_000_000
    assert "protected: it is the first process" in actions(tmp_path, "do", "kill", "--pid", "1", "--yes")[2]
    assert "root can't be locked" in actions(tmp_path, "do", "lock", "--user", "root", "--yes")[2]
    assert "freeze is done to a container: name it" in actions(tmp_path, "do", "freeze", "--pid", "7")[2]
    assert "no containers of this host" in actions(tmp_path, "do", "freeze", "--container", "none", "--yes")[2]
    assert "without a broker" in actions(tmp_path, "do", "isolate", "--host", "other", "--yes")[2]
    assert "add --yes" in actions(tmp_path, "do", "isolate")[2]
