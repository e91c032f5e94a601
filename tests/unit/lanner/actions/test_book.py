from dataclasses import replace
from itertools import permutations
from pathlib import Path

import pytest

from lanner.actions.book import ActionBook
from lanner.actions.one_host import LocalActionRecords
from lanner.errors import BadInput
from schemas.action import ActionDecision, ActionIntent, ActionResult

INTENT = ActionIntent(
    id="i", type="freeze", target="container", host_id="h", hostname="web-3", state="ask", text="container web",
    created=1, lease=60, wait=100, approvals=2, container_id="3f2",
)  # fmt: skip
APPROVALS = [ActionDecision(name, "approve", "i", name, 2) for name in ("ann", "bob")]
DONE = ActionResult("i", "h", "web-3", "done", "froze 3 processes", 3)
UNDONE = replace(DONE, outcome="undone", text="thawed")


def status(*records: ActionIntent | ActionDecision | ActionResult, now: int = 50) -> str:
    """Return the state of the one action after records that were stored at the time 10."""
    book = ActionBook()
    for record in records:
        book.take(record, 10)
    return book.actions[0].status(now)


def test_an_action_has_the_state_of_its_records_in_any_order() -> None:
    """Topics are read side by side, so a result can come before its intent."""
    for records in permutations([INTENT, *APPROVALS, DONE]):
        assert status(*records) == "done"
    for records in permutations([INTENT, UNDONE, DONE]):
        assert status(*records) == "undone"


def test_an_action_waits_for_different_persons_and_not_for_ever() -> None:
    """One who approves twice counts once; after its time limit, nothing is done."""
    assert status(INTENT, APPROVALS[0], replace(APPROVALS[0], id="again")) == "waiting"
    assert status(INTENT, *APPROVALS) == "sent"
    assert status(INTENT, *APPROVALS, now=111) == "expired"
    assert status(INTENT, APPROVALS[0], ActionDecision("r", "reject", "i", "bob", 2)) == "rejected"
    assert status(replace(INTENT, state="would")) == "would"
    assert status(replace(INTENT, refusal="never")) == "refused"


def test_records_of_a_host_survive_its_end(tmp_path: Path) -> None:
    """A second process reads them, and what it writes is read by the first; a stop holds until somebody resumes."""
    with pytest.raises(BadInput, match="no records of actions"):
        LocalActionRecords(tmp_path)
    records, book = LocalActionRecords(tmp_path, creates=True), ActionBook()
    records.write(INTENT)
    other, seen = LocalActionRecords(tmp_path), ActionBook()
    assert other.update(seen) == [INTENT]
    for record in (*APPROVALS, ActionDecision("s", "stop", "", "ann", 5)):
        other.write(record)
    assert len(records.update(book)) == 4
    assert (book.actions[0].approvers, book.stop is not None) == ({"ann", "bob"}, True)
    other.write(ActionDecision("t", "resume", "", "bob", 6))
    assert (len(records.update(book)), book.stop) == (1, None)
