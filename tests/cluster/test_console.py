import json
import time
import urllib.request
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from bus.clients.readers import TopicReader
from bus.connection import Connection
from bus.messages.headers import SENT
from bus.topics import CONSOLE_AUDIT
from schemas.codec import encode_batch
from tests.cluster.actions import Generator, rules_file
from tests.cluster.processes import Processes, Running
from tests.ports import free_port


class BrowsedConsole:
    """A console of its own folder, and requests to it."""

    def __init__(self, connection: Connection, processes: Processes, folder: Path) -> None:
        """Start it."""
        self.folder = folder
        self._start = lambda: processes.start(
            connection, "console", "--listen", str(self.port), "-o", f"console.state_dir={folder}"
        )
        self.port = free_port()
        self.process = self.started()

    def started(self) -> Running:
        """Start it again."""
        self.process = self._start()
        self.process.wait_for("console at")
        return self.process

    def ask(self, path: str, body: Any = None) -> Any:
        """Return the JSON of an answer."""
        data = None if body is None else json.dumps(body).encode()
        headers = {"Content-Type": "application/json", "X-Lanner-Request": "test"}
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}", data, headers)
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.load(answer)

    def shows(self, groups: int, alerts: int, state: str = "open") -> bool:
        """Return whether it shows so many groups and alerts in a state."""
        page = self.ask(f"/api/groups?since=all&state={state}")
        return (page["total"], page["alerts"]) == (groups, alerts)


def soon(condition: Callable[[], bool]) -> None:
    """Wait until a condition holds."""
    deadline = time.monotonic() + 40
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_two_consoles_agree_and_survive_a_kill_and_the_loss_of_the_view(
    connection: Connection, processes: Processes, tmp_path: Path
) -> None:
    """Alerts and decisions come from topics: a console that lost its files shows the same again."""
    one, other = (BrowsedConsole(connection, processes, tmp_path / name) for name in ("one", "other"))
    assert one.shows(0, 0)
    processor = processes.start(connection, "processor", rules=rules_file(tmp_path))
    generator = Generator(connection, hosts=4)
    generator.send(b"nonsense", "host-0", topic="alerts")
    generator.act(25)
    generator.flush()
    for console in (one, other):
        soon(lambda console=console: console.shows(1, 100))  # type: ignore[misc]
    (group,) = one.ask("/api/groups?since=all")["groups"]
    assert (group["rule"], group["hosts"], group["workload"]) == ("Marked action", 4, "host-*")

    subject = f"group:{group['key']}"
    one.ask("/api/marks", {"subject": subject, "action": "mute", "value": "8h"})
    other.ask("/api/marks", {"subject": subject, "action": "assign", "value": "alice"})
    other.ask("/api/marks", {"subject": subject, "action": "comment", "value": "a test"})
    for console in (one, other):
        soon(lambda console=console: console.shows(1, 100, "muted"))  # type: ignore[misc]
        soon(lambda console=console: len(console.ask(f"/api/groups/{group['key']}")["marks"]) == 3)  # type: ignore[misc]

    one.process.kill()
    assert other.process.stop() == 0
    for path in other.folder.glob("alerts.db*"):
        path.unlink()
    generator.act(5)
    generator.flush()
    for console in (one, other):
        console.started()
        soon(lambda console=console: console.shows(1, 120, "muted"))  # type: ignore[misc]
        detail = console.ask(f"/api/groups/{group['key']}")
        assert detail["assignee"] == "alice"
        assert "a test" in [mark["value"] for mark in detail["marks"]]
        assert console.process.stop() == 0

    audit = TopicReader(connection, connection.topic(CONSOLE_AUDIT), whole=True)
    actions = []
    while not audit.has_read_all or len(actions) < 3:
        if (message := audit.poll(0.2)) is not None:
            actions.append(json.loads(message.value() or b"")["action"])
    audit.close()
    assert sorted(actions) == ["assign", "comment", "mute"]
    assert processor.stop() == 0


def test_hosts_are_known_from_their_heartbeats(connection: Connection, processes: Processes, tmp_path: Path) -> None:
    """A clock that is off, a loss, what a host watches and a clean stop are shown, and stay known."""
    console = BrowsedConsole(connection, processes, tmp_path / "console")
    generator = Generator(connection, hosts=3)
    plain, stopping, ahead = generator.hosts
    generator.publish(replace(plain.batch(), watched=["openat"], lost={"events_ring_full": 5}))
    generator.publish(replace(stopping.batch(), stopping=True))
    sent = str(time.time_ns() + 3600 * 10**9).encode()
    generator.send(encode_batch(ahead.batch()), ahead.name, headers=[(SENT, sent)])
    generator.flush()

    def states() -> dict[str, list[str]]:
        return {host["name"]: host["states"] for host in console.ask("/api/hosts")["hosts"]}

    soon(lambda: len(states()) == 3)
    found = states()
    assert "losing" in found[plain.name]
    assert "stopped" in found[stopping.name]
    assert "clock" in found[ahead.name]
    host = console.ask(f"/api/hosts/host?id={plain.name}")
    assert (host["losses"], host["watched"]) == ({"events_ring_full": 5}, ["openat"])
    read_at = console.ask("/api/hosts")["read_at"]
    generator.publish(plain.batch())
    generator.flush()
    soon(lambda: console.ask("/api/hosts")["read_at"] != read_at)
    assert len(states()) == 3
    assert console.ask(f"/api/hosts/host?id={plain.name}")["watched"] == ["openat"]
    assert console.process.stop() == 0
