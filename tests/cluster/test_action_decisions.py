"""What people decide about a fleet's actions, on a real broker, by signed records."""

import json
from pathlib import Path

from bus.connection import Connection
from bus.signatures import key_id, read_private_key, read_public_key
from lanner.actions.book import ActionBook
from lanner.actions.topics import TopicActionRecords
from schemas.action import ActionIntent, ActionResult
from tests.cluster.processes import Processes
from tests.cluster.test_signed_rules import make_keys

INTENT = ActionIntent(
    id="0191-one", type="freeze", target="container", host_id="h", hostname="web-3", state="ask", lease=900_000_000_000,
    text="container web", created=1, approvals=1, container_id="3f2", policy="Freeze shells",
)  # fmt: skip


def test_a_person_decides_about_a_fleets_action_with_a_key(
    connection: Connection, processes: Processes, tmp_path: Path
) -> None:
    """Without one, nothing is written; with one, the command waits for what the host reports."""
    key, public = tmp_path / "ann.key", tmp_path / "ann.pub"
    make_keys(key, public)
    known = read_public_key(public)
    records = TopicActionRecords(connection, read_private_key(key), [known])
    records.write(INTENT)

    def run(*arguments: str | Path) -> tuple[int, str, str]:
        made = processes.start(connection, "actions", *arguments)
        return made.result(), made.output, made.errors

    assert json.loads(run("pending", "--format", "json")[1])["id"] == INTENT.id
    code, _, errors = run("approve", "0191")
    assert (code, "--sign-key" in errors) == (1, True)
    approving = processes.start(connection, "actions", "approve", "0191", "--sign-key", key, "--wait", "30")
    book = ActionBook()
    while not (book.actions and book.actions[0].decisions):
        records.update(book)
    records.write(ActionResult(INTENT.id, "h", "web-3", "done", "froze 3 processes", 3))
    assert approving.result() == 0
    assert approving.output == "done: freeze container web for 15m on web-3 (froze 3 processes)\n"

    remote = ("do", "isolate", "--host", "none", "--yes", "--sign-key", key)
    assert "`lanner hosts list` shows" in run(*remote)[2]
    assert run("stop", "--yes", "--undo", "--sign-key", key)[0] == 0
    while book.stop is None or len(book.actions[0].decisions) < 2:
        records.update(book)
    (action,) = book.actions
    assert ([each.type for each in action.decisions], action.signed_by) == (["approve", "undo"], key_id(known))
    records.close()
