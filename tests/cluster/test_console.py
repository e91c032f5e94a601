import json
import time
import urllib.parse
import urllib.request
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

from bus.clients.producers import make_producer, producer_config
from bus.clients.readers import TopicReader
from bus.connection import Connection
from bus.messages import SENT
from bus.topics import ALERTS, CONSOLE_AUDIT, NOTIFIER_DEAD_LETTERS
from notifier.kafka_queue import ONLY_FOR
from schemas.encoding.batch import encode_batch
from tests.cluster.actions import RULE, RULES, Generator, rules_file
from tests.cluster.broker import Broker
from tests.cluster.conftest import with_topics
from tests.cluster.processes import Processes, Running
from tests.cluster.test_dead_letters import everything, refused, write_dead_letter
from tests.ports import free_port


class BrowsedConsole:
    """A console of its own folder, and requests to it."""

    def __init__(
        self, connection: Connection, processes: Processes, folder: Path, rules: Path | None = None
    ) -> None:  # fmt: skip
        """Start it."""
        self.folder = folder
        self._start = lambda: processes.start(
            connection, "console", "--listen", str(self.port), "-o", f"console.state_dir={folder}", rules=rules
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

    def search(self, condition: str) -> list[tuple[str, Any]]:
        """Return the events of a search's stream."""
        return self._stream(f"/api/search?{urllib.parse.urlencode({'q': condition})}")

    def hunt(self, **form: str) -> tuple[str, Any]:
        """Return the last event of a hunt's stream."""
        return self._stream("/api/hunt", json.dumps(form).encode())[-1]

    def _stream(self, path: str, data: bytes | None = None) -> list[tuple[str, Any]]:
        headers = {"Content-Type": "application/json", "X-Lanner-Request": "test"}
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}", data, headers)
        with urllib.request.urlopen(request, timeout=60) as answer:
            parts = answer.read().decode().split("\n\n")
        lines = [part.split("\n") for part in parts if part.startswith("event: ")]
        return [(name.removeprefix("event: "), json.loads(data.removeprefix("data: "))) for name, data in lines]

    def text(self, path: str) -> str:
        """Return an answer as text."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=30) as answer:
            return str(answer.read().decode())

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

    lag = f'lanner_consumer_lag{{partition="0",topic="{connection.topic(ALERTS)}"}} 0.0'
    soon(lambda: lag in one.text("/metrics"))
    assert "lanner_console_alerts 100.0" in one.text("/metrics")

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


def test_events_of_a_fleet_are_searched(connection: Connection, processes: Processes, tmp_path: Path) -> None:
    """Newest first, from all partitions; what is no batch is counted. Hunts read the same topic."""
    generator = Generator(connection, hosts=4)
    generator.act(25)
    generator.send(b"nonsense", "host-0", topic="events")
    generator.flush()
    console = BrowsedConsole(connection, processes, tmp_path / "one")
    parts = console.search("evt.hostname = host-2 and fd.name startswith /marked/")
    found = [event for name, value in parts if name == "found" for event in value["events"]]
    name, end = parts[-1]
    assert (name, end["reason"], end["found"]) == ("end", "complete", len(found))
    assert len(found) == 25
    assert {event["fields"]["evt.hostname"] for event in found} == {"host-2"}
    assert [event["time"] for event in found] == sorted((event["time"] for event in found), reverse=True)
    assert end["remarks"] == ["1 message could not be read as events."]
    assert console.search("proc.name = never")[-1][1]["looked_at"] == end["looked_at"]

    end, hunted = console.hunt(q="fd.name startswith /marked/", place="topic", group_by="evt.hostname")
    assert (end, hunted["end"], hunted["total"]) == ("result", "complete", 100)
    assert {row[0]: row[1] for row in hunted["rows"]} == {f"host-{number}": "25" for number in range(4)}
    sql = "SELECT evt_hostname, count(*) FROM events WHERE fd_name LIKE '/marked/%' GROUP BY 1 ORDER BY 1 LIMIT 1"
    assert console.hunt(q=sql, language="sql", place="topic")[1]["rows"] == [["host-0", "25"]]
    refused_sql = console.hunt(q="SELECT * FROM read_text('/etc/shadow')", language="sql", place="topic")
    assert refused_sql[0] == "failed"
    assert console.process.stop() == 0


def test_lag_is_shown_and_dead_letters_are_replayed(
    connection: Connection, processes: Processes, tmp_path: Path
) -> None:
    """By group and topic, with the age of the oldest message; an alert goes back to the sink that refused it."""
    notifier = processes.start(
        connection,
        "notifier",
        "file",
        *("-o", f"notifier.state_dir={tmp_path}", "-o", f"file_output.filename={tmp_path / 'alerts'}"),
    )
    producer = make_producer(producer_config(connection, "test", queue_bytes=8 << 20))
    value, headers = refused("slack")
    producer.produce(connection.topic(ALERTS), value, b"one")
    assert producer.flush(20) == 0
    soon(lambda: (tmp_path / "alerts").exists() and bool((tmp_path / "alerts").read_text()))
    console = BrowsedConsole(connection, processes, tmp_path / "one")

    def sink() -> dict[str, Any]:
        queues = console.ask("/api/pipeline")["queues"]
        return next((dict(each) for each in queues if each["name"] == "file"), {})

    soon(lambda: (sink().get("waiting"), sink().get("readers"), sink().get("oldest")) == (0, 1, None))
    assert notifier.stop() == 0
    before = time.time()
    for number in range(3):
        producer.produce(connection.topic(ALERTS), value, str(number).encode())
    assert producer.flush(20) == 0
    soon(lambda: (sink()["waiting"], sink()["readers"]) == (3, 0))
    assert sink()["source"] == "alerts"
    assert abs(datetime.fromisoformat(sink()["oldest"]).timestamp() - before) < 20

    write_dead_letter(connection, NOTIFIER_DEAD_LETTERS, value, headers)
    (letter,) = console.ask("/api/dead-letters")["dead_letters"]
    assert (letter["id"], letter["sink"], letter["reason"]) == ("notifier:0", "slack", "invalid_blocks")
    assert console.ask("/api/dead-letters/replay", {"ids": ["notifier:0"]}) == {
        "replayed": ["notifier:0"],
        "problem": "",
    }
    assert console.ask("/api/dead-letters")["dead_letters"] == []
    assert [headers[ONLY_FOR] for *_, headers in everything(connection, ALERTS) if ONLY_FOR in headers] == [b"slack"]
    audit = [json.loads(value or b"") for _, _, value, _ in everything(connection, CONSOLE_AUDIT)]
    assert [(each["action"], each["value"]) for each in audit] == [("replay", "notifier:0")]
    assert console.process.stop() == 0


def test_a_broker_that_goes_away_is_on_the_page_at_once(
    own_broker: Broker, processes: Processes, tmp_path: Path
) -> None:
    """For queues, dead letters and searches."""
    connection = with_topics(own_broker, 2)
    console = BrowsedConsole(connection, processes, tmp_path / "one")
    assert console.ask("/api/pipeline")["queues"] == []
    own_broker.stop()
    time.sleep(2)
    began = time.monotonic()
    with urllib.request.urlopen(f"http://127.0.0.1:{console.port}/pipeline", timeout=30) as answer:
        assert answer.read().count(b"no answer from a broker") == 2
    assert time.monotonic() - began < 10
    assert console.search("proc.name = cat")[-1][0] == "failed"
    assert time.monotonic() - began < 20
    assert console.process.stop() == 0


def test_rules_have_their_publisher_and_what_processors_report(
    connection: Connection, processes: Processes, tmp_path: Path
) -> None:
    """A published version replaces the rule files of the console's host, with who changed what."""
    console = BrowsedConsole(connection, processes, tmp_path / "console")
    soon(lambda: "No version is published" in console.ask("/api/rules")["origin"])
    published = ("rules", "publish", "--yes", rules_file(tmp_path))
    assert processes.start(connection, *published).result() == 0
    processor = processes.start(connection, "processor", rules=rules_file(tmp_path))
    processor.wait_for("evaluating rules:")
    rules_file(tmp_path, RULES.replace("NOTICE", "WARNING"))
    assert processes.start(connection, *published, "--comment", "louder").result() == 0
    generator = Generator(connection, hosts=2)

    def rule() -> Any:
        generator.act(1)
        generator.flush()
        return next((each for each in console.ask("/api/rules")["rules"] if each["name"] == RULE), {})

    soon(lambda: (console.ask("/api/rules")["version"] or {}).get("comment") == "louder")
    soon(lambda: rule().get("alerts", 0) > 0 and (rule()["seconds"] or 0) > 0)
    version, found = console.ask("/api/rules")["version"], rule()
    assert (found["enabled"], found["priority"]) == (True, "Warning")
    assert (found["change"]["version"], found["change"]["by"]) == (version["name"], version["publisher"])
    assert "priority" in found["change"]["how"]
    assert console.process.stop() == 0
    assert processor.stop() == 0
