from pathlib import Path

from playwright.sync_api import expect

from lanner.actions.one_host import LocalActionRecords
from lanner.console.actions import ActionSource
from schemas.action import ActionIntent, ActionResult
from tests.browser.conftest import Serve, Visiting
from tests.browser.consoles import recent
from tests.unit.lanner.console.alerts import HOSTILE

INTENT = ActionIntent(
    id="one", type="freeze", target="container", host_id="1", hostname="web-3", state="ask", lease=900_000_000_000,
    text=f"container {HOSTILE[0]}", created=1, approvals=1, container_id="0123456789ab", policy="Freeze shells",
    alert="alert-0", rule="Shell",
)  # fmt: skip


def test_an_action_is_approved_on_its_alert_and_undone_on_the_page(
    serve: Serve, visit: Visiting, tmp_path: Path
) -> None:
    """The dialog states what it hits; an attacker's texts are text; by hand, the choices state what they would hit."""
    records = LocalActionRecords(tmp_path / "actions", creates=True)
    records.write(INTENT)
    event = {"container.id": "0123456789ab", "container.name": "web", "proc.pid": 4711}
    alerts = [recent(0, event=event, hostname="web-3", host_id="1")]
    made = serve(alerts=alerts, actions=ActionSource(lambda: LocalActionRecords(tmp_path / "actions")))
    made.wait_for(1)
    page = visit(made).open("/alerts/alert-0")
    page.get_by_role("button", name="Approve").click()
    dialog = page.locator("#intent")
    expect(dialog).to_contain_text("on web-3")
    dialog.get_by_role("button", name="Approve").click()
    expect(page.locator("table.intents .badge")).to_have_text("sent")
    records.write(ActionResult("one", "1", "web-3", "done", "froze 3 processes", 3))
    page.get_by_role("button", name="Act by hand…").click()
    page.get_by_role("button", name="isolate container web…").click()
    expect(dialog).to_contain_text("1 alert about it, of 1 container")
    dialog.get_by_role("button", name="Cancel").click()

    page.goto(f"http://127.0.0.1:{made.port}/actions")
    expect(page.locator("table.intents .badge")).to_have_text("done")
    page.get_by_role("button", name="Undo").click()
    dialog.get_by_role("button", name="Undo").click()
    expect(page.locator("#status")).to_have_text("Stored: done.")
    page.get_by_role("button", name="Stop all actions…").click()
    dialog.get_by_role("button", name="Stop").click()
    expect(page.get_by_role("button", name="Resume all actions…")).to_be_visible()
