import json
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from bus.connection import Connection
from bus.consuming import Reader
from bus.producing import make_producer, producer_config
from bus.topics import ALERTS, NOTIFIER_DEAD_LETTERS, SIEM_ECS
from schemas.alert import encode_alert
from tests.cluster.processes import Processes
from tests.live.notifier.slack_server import SlackServer
from tests.unit.alerts import alert


@pytest.fixture
def slack() -> Iterator[SlackServer]:
    """Run a stand-in for Slack."""
    server = SlackServer()
    try:
        yield server
    finally:
        server.close()


def publish(connection: Connection, ids: list[str]) -> None:
    """Put alerts on their topic, over all partitions."""
    producer = make_producer(producer_config(connection, "test", queue_bytes=8 << 20))
    for each in ids:
        data = encode_alert(alert(id=each, rule=f"Rule {each}", priority="Error"))
        producer.produce(connection.topic(ALERTS), data, each.encode())
    assert producer.flush(20) == 0


def messages(connection: Connection, topic: str, count: int, seconds: float = 30) -> list[dict[str, object]]:
    """Read a topic until so many messages came."""
    reader = Reader(connection, connection.topic(topic), whole=True)
    found: list[dict[str, object]] = []
    until = time.monotonic() + seconds
    while len(found) < count and time.monotonic() < until:
        message = reader.poll(0.2)
        if message is not None:
            headers = dict(message.headers() or [])
            found.append({"key": message.key(), "value": message.value(), "headers": headers})
    reader.close()
    return found


def lines(path: Path) -> list[str]:
    """Give the ids that a file sink wrote."""
    return [json.loads(line)["id"] for line in path.read_text().splitlines()] if path.exists() else []


def wait_for_lines(path: Path, count: int, seconds: float = 40) -> list[str]:
    """Wait until so many different ids are there."""
    until = time.monotonic() + seconds
    while len(set(lines(path))) < count and time.monotonic() < until:
        time.sleep(0.1)
    return lines(path)


def overrides(tmp_path: Path) -> list[str]:
    """Give the settings of a file sink that a test can look into."""
    return [
        *("-o", f"notifier.state_dir={tmp_path / 'state'}", "-o", "json_output=true"),
        *("-o", "file_output.enabled=true", "-o", f"file_output.filename={tmp_path / 'alerts'}"),
    ]


def test_documents_reach_the_siem_topics_with_cloudevents_headers(
    connection: Connection, processes: Processes, tmp_path: Path
) -> None:
    """Key and `ce_id` are the alert's id; what was delivered is not delivered again after a restart."""
    ids = [f"id-{number:03d}" for number in range(50)]
    publish(connection, ids)
    for _ in range(2):
        notifier = processes.start(connection, "notifier", "siem.ecs", *overrides(tmp_path))
        found = messages(connection, SIEM_ECS, 51, 12)
        assert notifier.stop() == 0
        assert sorted(str(json.loads(each["value"])["event"]["id"]) for each in found) == ids  # type: ignore[arg-type]
    headers = found[0]["headers"]
    assert isinstance(headers, dict)
    assert headers["content-type"] == b"application/json"
    assert headers["ce_id"] == found[0]["key"]
    assert headers["ce_type"] == b"lanner.siem.ecs"


def test_an_alert_is_delivered_whenever_the_notifier_dies(
    connection: Connection, processes: Processes, tmp_path: Path
) -> None:
    """Killed under load, again and again: all are there, second deliveries only in the gap of one a kill."""
    ids = [f"id-{number:04d}" for number in range(3000)]
    publish(connection, ids)
    path = tmp_path / "alerts"
    kills = 0
    for wanted in (300, 1200):
        notifier = processes.start(connection, "notifier", "file", *overrides(tmp_path))
        wait_for_lines(path, wanted)
        notifier.kill()
        kills += 1
    publish(connection, ids[:100])
    processes.start(connection, "notifier", "file", *overrides(tmp_path))
    arrived = wait_for_lines(path, len(ids), 60)
    time.sleep(2)
    arrived = lines(path)
    assert set(arrived) == set(ids)
    assert sum(Counter(arrived).values()) - len(ids) <= kills


def test_a_dead_slack_holds_nobody_up_and_a_refusal_is_a_dead_letter(
    connection: Connection, processes: Processes, tmp_path: Path, slack: SlackServer
) -> None:
    """One sink's line waits, the other's is empty at once; then only the refused alert is dead-lettered."""
    slack.faults = ["500", "close", "invalid_blocks"]
    (tmp_path / "token").write_text("made-up-token\n")
    settings = overrides(tmp_path)
    settings += ["-o", f"slack_output.token_file={tmp_path / 'token'}", "-o", "slack_output.channel=#alerts"]
    settings += ["-o", f"slack_output.api_url={slack.api}"]
    publish(connection, ["one", "two"])
    notifier = processes.start(connection, "notifier", "slack", "file", *settings)
    assert set(wait_for_lines(tmp_path / "alerts", 2)) == {"one", "two"}
    dead = messages(connection, NOTIFIER_DEAD_LETTERS, 1)
    until = time.monotonic() + 20
    while not slack.posted and time.monotonic() < until:
        time.sleep(0.1)
    assert notifier.stop() == 0
    (letter,) = dead
    headers = letter["headers"]
    assert isinstance(headers, dict)
    assert (headers["reason"], headers["sink"], headers["attempts"]) == (b"invalid_blocks", b"slack", b"3")
    (posted,) = slack.posted
    delivered = posted["text"].split("Rule ")[1].split()[0]
    assert {delivered.encode(), letter["key"]} == {b"one", b"two"}
    assert "made-up-token" not in notifier.errors + notifier.output
