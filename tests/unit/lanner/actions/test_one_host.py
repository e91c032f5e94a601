from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from foundation.text import ignore_note
from lanner.actions.one_host import LocalActionRecords, OneHostActions
from processor.actions.policies import ActionBudget, ActionPolicy, Never
from schemas.action import ActionDecision, ActionIntent, ActionResult, decode_action_record
from schemas.alert import Alert
from schemas.catalog.priorities import Priority
from tests.unit.alerts import alert

KILL = ActionPolicy(
    "end", "kill", "process", "do", 0, ("*",), (), Priority.DEBUG, Never(), budget=ActionBudget(per_hour=2)
)


class Passed:
    """What was passed to an executor, and its answers."""

    def __init__(self) -> None:
        self.intents: list[ActionIntent] = []
        self.decisions: list[ActionDecision] = []
        self.results: list[ActionResult] = []

    def send_intent(self, value: bytes, signature: bytes, stored: int, now: int) -> None:  # noqa: ARG002
        """Take an intent."""
        self.intents.append(decode_action_record(value, ActionIntent))

    def send_decision(self, value: bytes, signature: bytes, stored: int, now: int) -> None:  # noqa: ARG002
        """Take a decision."""
        self.decisions.append(decode_action_record(value, ActionDecision))

    def poll(self) -> Sequence[ActionResult]:
        """Return the answers once."""
        found, self.results = self.results, []
        return found

    def close(self) -> None:
        """Do nothing."""


def begun(folder: Path, policy: ActionPolicy = KILL) -> tuple[OneHostActions, Passed]:
    """Return the actions of a host whose rule requests a policy, and what is passed on."""
    passed = Passed()
    made = OneHostActions(LocalActionRecords(folder, creates=True), passed, ignore_note)
    made.change_policies({"A rule": (policy,)})
    return made, passed


def about(pid: int) -> Alert:
    """Return an alert about a process."""
    return alert(id=f"a{pid}", host_id="h", event={"proc.pid": pid, "proc.pid.ts": 5, "proc.name": "nc"})


def test_a_restart_gives_no_whole_budget_and_resets_no_fuse(tmp_path: Path) -> None:
    """A person does, in another process; the executor gets each intent once."""
    actions, passed = begun(tmp_path)
    assert [list(actions.take(about(pid))) for pid in (100, 101)] == [[], []]
    actions.close()
    actions, passed = begun(tmp_path)
    passed.intents.clear()
    assert [each.rule for each in actions.take(about(102))] == ["Lanner internal: actions stopped"]
    actions.close()
    actions, passed = begun(tmp_path)
    passed.intents.clear()
    assert list(actions.take(about(103))) == []
    assert passed.intents == []
    LocalActionRecords(tmp_path).write(ActionDecision("r", "reset", "end", "ann", 1))
    assert list(actions.poll()) == []
    assert list(actions.take(about(104))) == []
    assert [each.pid for each in passed.intents] == [104]


def test_people_decide_in_another_process_and_results_become_alerts(tmp_path: Path) -> None:
    """What they request by hand is passed on as well; `would` passes on nothing."""
    actions, passed = begun(tmp_path, replace(KILL, state="would"))
    assert list(actions.take(about(100))) == []
    assert list(actions.poll()) == []
    intent = replace(actions.book.actions[0].intent, id="i", state="do", policy="", by="ann")
    other = LocalActionRecords(tmp_path)
    other.write(intent)
    other.write(ActionDecision("u", "undo", "i", "ann", 1))
    assert list(actions.poll()) == []
    assert ([each.id for each in passed.intents], [each.type for each in passed.decisions]) == (["i"], ["undo"])
    received = ActionResult("i", "h", "web-3", "received", "", 2)
    passed.results = [received, replace(received, outcome="done", text="killed 1 process")]
    (found,) = actions.poll()
    assert (found.rule, found.output) == ("Lanner internal: action", "kill process 100 (nc): done | killed 1 process")
    assert list(actions.poll()) == []
    assert [each.status(2) for each in actions.book.actions if each.intent == intent] == ["done"]


def test_what_can_not_be_recorded_is_not_begun_and_ends_nothing(tmp_path: Path) -> None:
    """An attacker chooses paths of any length, and disks get full; both are reported."""
    notes: list[str] = []
    passed = Passed()
    records = LocalActionRecords(tmp_path, creates=True)
    actions = OneHostActions(records, passed, lambda text, *_: notes.append(text))
    move = replace(KILL, type="quarantine", target="file")
    actions.change_policies({"A rule": (move,)})
    long = alert(host_id="h", event={"fd.name": "/x" * 3000, "fd.type": "file"})
    assert list(actions.take(long)) == []
    assert "text of at most" in notes[0]
    records.close()
    assert list(actions.take(about(100))) == []
    assert list(actions.poll()) == []
    assert passed.intents == []
