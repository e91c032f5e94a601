"""Approval in Slack, against a local server that speaks Slack's Web API and Socket Mode."""

import asyncio
import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from aiohttp import WSMsgType, web

from lanner.actions.book import ActionBook
from lanner.actions.one_host import LocalActionRecords
from lanner.settings import load_settings
from lanner.wiring.stages.notifier import approvals_of
from schemas.action import ActionIntent, ActionResult
from tests.unit.lanner.console.alerts import HOSTILE, soon

INTENT = ActionIntent(
    id="one", type="freeze", target="container", host_id="h", hostname="web-3", state="ask", lease=900_000_000_000,
    text=f"container {HOSTILE[0]} <!channel>", created=1, approvals=2, container_id="3f2", policy="Freeze shells",
    rule="Shell", workload="shop/web",
)  # fmt: skip


class SlackApp:
    """The server: what was posted, edited and shown to single persons, and clicks."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, dict[str, Any]]] = []
        self.acknowledged: list[str] = []
        self.port = 0
        self._loop = asyncio.new_event_loop()
        self._links: list[web.WebSocketResponse] = []
        started = threading.Event()
        threading.Thread(target=self._run, args=(started,), daemon=True).start()
        assert started.wait(10)

    def _run(self, started: threading.Event) -> None:
        asyncio.set_event_loop(self._loop)
        app = web.Application()
        app.add_routes([web.post("/api/{method}", self._call), web.get("/link", self._link)])
        self._runner = web.AppRunner(app)
        self._loop.run_until_complete(self._runner.setup())
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        self._loop.run_until_complete(site.start())
        self.port = self._runner.addresses[0][1]
        started.set()
        self._loop.run_forever()

    async def _call(self, request: web.Request) -> web.Response:
        method = request.match_info["method"]
        if method == "apps.connections.open":
            assert request.headers["Authorization"] == "Bearer xapp-test"
            return web.json_response({"ok": True, "url": f"ws://127.0.0.1:{self.port}/link?ticket=1"})
        body = await request.json() if request.content_type == "application/json" else dict(await request.post())
        self.calls.append((method, body))
        return web.json_response({"ok": True, "channel": "C1", "ts": f"{len(self.calls)}.0"})

    async def _link(self, request: web.Request) -> web.WebSocketResponse:
        link = web.WebSocketResponse()
        await link.prepare(request)
        await link.send_json({"type": "hello", "num_connections": 1})
        self._links.append(link)
        async for message in link:
            if message.type == WSMsgType.TEXT:
                self.acknowledged.append(json.loads(message.data)["envelope_id"])
        return link

    def click(self, user: str, name: str, value: str = "one") -> None:
        """Send a click by the newest connection, and wait for its acknowledgement."""
        until(lambda: bool(self._links))
        envelope = f"{user}-{name}-{len(self.acknowledged)}"
        payload = {
            "type": "block_actions",
            "user": {"id": user},
            "channel": {"id": "C1"},
            "actions": [{"action_id": f"lanner_{name}", "value": value}],
        }
        sent = {"type": "interactive", "envelope_id": envelope, "payload": payload, "accepts_response_payload": False}
        asyncio.run_coroutine_threadsafe(self._links[-1].send_json(sent), self._loop).result(10)
        until(lambda: envelope in self.acknowledged)

    def texts(self, method: str) -> list[str]:
        """Return what was sent by a method."""
        return [json.dumps(body) for name, body in self.calls if name == method]

    def close(self) -> None:
        """Stop."""
        asyncio.run_coroutine_threadsafe(self._runner.cleanup(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)


def until(is_so: Callable[[], bool]) -> None:
    """Wait until a condition holds."""
    for _ in soon():
        if is_so():
            return
    raise AssertionError("it did not become so")


@pytest.fixture
def slack() -> Iterator[SlackApp]:
    """Provide the server."""
    made = SlackApp()
    yield made
    made.close()


def test_two_persons_approve_by_buttons_and_the_message_has_the_outcome(slack: SlackApp, tmp_path: Path) -> None:
    """Others are refused, and so is a second click of the same person; an attacker's text calls nobody."""
    records = LocalActionRecords(tmp_path, creates=True)
    records.write(INTENT)
    records.write(replace(INTENT, id="would", state="would"))
    flags = [f"slack_output.api_url=http://127.0.0.1:{slack.port}/api/", "slack_output.channel=#soc"]
    settings = load_settings(None, {}, [*flags, "slack_output.approvers=[U1=ann, U2=bob]"])
    approvals = approvals_of(settings, LocalActionRecords(tmp_path), "xapp-test", "xoxb-test")
    until(lambda: len(slack.texts("chat.postMessage")) == 1)
    (posted,) = slack.texts("chat.postMessage")
    assert "lanner_approve" in posted
    assert "<!channel>" not in posted
    assert "shop/" in posted

    slack.click("U9", "approve")
    until(lambda: len(slack.texts("chat.postEphemeral")) == 1)
    slack.click("U1", "approve")
    slack.click("U1", "approve")
    until(lambda: len(slack.texts("chat.postEphemeral")) == 2)
    assert "2 different persons" in slack.texts("chat.postEphemeral")[1]
    slack.click("U2", "approve", "none")
    until(lambda: len(slack.texts("chat.postEphemeral")) == 3)
    slack.click("U2", "approve")
    until(lambda: "sent" in "".join(slack.texts("chat.update")))
    records.write(ActionResult("one", "h", "web-3", "done", "froze 3 processes", 3))
    until(lambda: "froze 3 processes" in "".join(slack.texts("chat.update")))
    assert "lanner_approve" not in slack.texts("chat.update")[-1]
    book = ActionBook()
    records.update(book)
    action = book.find("one")
    assert action is not None
    assert [(each.type, each.by) for each in action.decisions] == [("approve", "ann@slack"), ("approve", "bob@slack")]
    approvals.stop()
