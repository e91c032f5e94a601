"""The page of actions and what people decide there, on the file that `lanner run` writes."""

import time
from dataclasses import replace
from pathlib import Path

import pytest

from lanner.actions.book import ActionBook
from lanner.actions.one_host import LocalActionRecords
from lanner.console.accounts import Accounts
from lanner.console.actions import ActionSource
from lanner.wiring.stages.console import PEOPLE
from processor.actions.policies import BLOWN
from schemas.action import ActionIntent, ActionResult
from tests.unit.lanner.console.alerts import HOSTILE, found
from tests.unit.lanner.console.server.running import HEADER, Served

INTENT = ActionIntent(
    id="one", type="freeze", target="container", host_id="h", hostname="web-3", state="ask", lease=900_000_000_000,
    text=f"container {HOSTILE[0]}", created=1, approvals=2, container_id="3f2", policy="Freeze shells", rule="Shell",
    alert="alert-0", workload="shop/web",
)  # fmt: skip
ALERT_EVENT = {"container.id": "0123456789ab", "container.name": "web", "proc.pid": 4711, "proc.name": "sh"}


@pytest.fixture
def records(tmp_path: Path) -> LocalActionRecords:
    """Return the records of a host, with an action that waits for two persons."""
    made = LocalActionRecords(tmp_path / "actions", creates=True)
    made.write(INTENT)
    return made


def served(folder: Path, missing: str = "") -> Served:
    """Start a console with one alert."""
    source = ActionSource(lambda: LocalActionRecords(folder / "actions"), missing)
    one = found(0, id="alert-0", time=time.time_ns(), event=ALERT_EVENT, hostname="web-3", host_id="h")
    made = Served(folder / "console", alerts=[one], actions=source)
    made.wait_for(1)
    return made


def test_two_persons_approve_and_one_of_them_undoes(tmp_path: Path, records: LocalActionRecords) -> None:
    """The same person counts once; a viewer only looks; the audit log has all of it."""
    (tmp_path / "console").mkdir()
    accounts = Accounts(tmp_path / "console" / PEOPLE)
    tokens = {name: accounts.create_token(name, role, 0) for name, role in (("ann", "analyst"), ("bob", "analyst"))}  # type: ignore[arg-type]
    tokens["eve"] = accounts.create_token("eve", "viewer", 0)
    accounts.close()
    console = served(tmp_path)

    def decide(who: str, type_: str) -> tuple[int, str]:
        headers = HEADER | {"Authorization": f"Bearer {tokens[who]}"}
        answer = console.ask("/api/actions/decide", {"id": "one", "type": type_}, headers=headers)
        return answer.status, answer.json["action"]["state"] if answer.status == 200 else answer.json["error"]

    assert decide("eve", "approve") == (403, "Only analysts may do this.")
    assert decide("ann", "undo")[0] == 409
    assert decide("ann", "approve") == (200, "waiting")
    assert decide("ann", "approve")[1].endswith("it needs 2 different persons.")
    assert decide("bob", "approve") == (200, "sent")
    records.write(ActionResult("one", "h", "web-3", "done", "froze 3 processes", 3))
    assert decide("bob", "extend")[0] == 200
    assert decide("bob", "undo")[0] == 200
    assert [(each["name"], each["action"]) for each in console.audit() if each["subject"] == "one"][-1] == (
        "bob",
        "undo action",
    )
    page = console.ask("/actions?state=done", headers={"Authorization": f"Bearer {tokens['eve']}"}).text
    assert "froze 3 processes" in page
    assert "data-decide" not in page
    console.stop()


def test_all_actions_are_stopped_and_a_fuse_is_reset_on_the_page(tmp_path: Path, records: LocalActionRecords) -> None:
    """The page states both, with buttons; texts of an attacker are text; filters choose."""
    records.write(replace(INTENT, id="two", refusal=f"{BLOWN}: 10 in an hour"))
    console = served(tmp_path)
    page = console.ask("/actions").text
    assert "the fuse has blown, so" in page
    assert HOSTILE[0] not in page
    assert len(console.ask("/api/actions?state=refused&host=WEB&policy=freeze").json["actions"]) == 1
    assert console.ask("/api/actions?state=nonsense").status == 400
    for body in ({"type": "stop"}, {"type": "reset", "policy": "Freeze shells"}):
        assert console.ask("/api/actions/all", body, headers=HEADER).status == 200
    assert console.ask("/api/actions/all", {"type": "stop"}, headers=HEADER).status == 409
    assert console.ask("/api/actions/all", {"type": "resume"}).status == 403
    known = console.ask("/api/actions").json
    assert (known["stopped_by"], known["blown"]) == ("local@console", [])
    assert "Resume all actions" in console.ask("/actions").text
    assert console.ask("/api/actions/all", {"type": "resume"}, headers=HEADER).status == 200
    console.stop()


def test_a_person_acts_by_hand_on_what_an_alert_is_about(tmp_path: Path, records: LocalActionRecords) -> None:
    """Each choice states what it would hit; what the alert doesn't identify is refused, with the reason."""
    console = served(tmp_path)
    choices = console.ask("/api/alerts/alert-0/actions").json
    freeze = next(each for each in choices["actions"] if each["type"] == "freeze")
    radius = dict(freeze["radius"])
    assert radius["host"] == "web-3 (h)"
    assert radius["alerts, 24 h"] == "1 alert about it, of 1 container and 1 process"
    assert radius["actions"].startswith("waiting freeze container")
    assert any("doesn't state when the process started" in each["why"] for each in choices["refused"])
    wanted = {"type": "freeze", "target": "container"}
    assert console.ask("/api/alerts/alert-0/actions", wanted, headers=HEADER).json["action"]["state"] == "sent"
    refused = console.ask("/api/alerts/alert-0/actions", {"type": "kill", "target": "process"}, headers=HEADER)
    assert refused.status == 409
    book = ActionBook()
    records.update(book)
    intent = next(each.intent for each in book.actions if not each.intent.policy)
    assert (intent.by, intent.container_id, intent.alert) == ("local@console", "0123456789ab", "alert-0")
    assert "by hand: local@console" in console.ask("/alerts/alert-0").text
    console.stop()


def test_without_a_key_nobody_can_decide_and_the_page_states_why(tmp_path: Path) -> None:
    """The same if there are no records at all."""
    LocalActionRecords(tmp_path / "actions", creates=True).close()
    console = served(tmp_path, "Set actions.key_file.")
    assert "Set actions.key_file." in console.ask("/actions").text
    assert console.ask("/api/actions/decide", {"id": "one", "type": "approve"}, headers=HEADER).status == 409
    console.stop()
    other = Served(tmp_path / "other", actions=ActionSource(lambda: LocalActionRecords(tmp_path / "none")))
    assert "there are no records of actions" in other.ask("/actions").text
    other.stop()
