import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from confluent_kafka.admin import AdminClient  # type: ignore[attr-defined]  # re-exported without saying so

from bus.administration import create_missing
from bus.clients.producers import make_producer, producer_config
from bus.clients.readers import TopicReader
from bus.connection import Connection, client_config
from bus.topics import ALERTS, DAY_MS, NOTIFIER_DEAD_LETTERS, SIEM_ECS, plan
from foundation.text import ignore_note
from notifier import kafka_queue
from notifier.sink import SinkStats
from schemas.alert import encode_alert
from tests.cluster.conftest import PARTITIONS
from tests.cluster.processes import FRESH, ONE_IN_FLIGHT, Processes
from tests.live.notifier.http_server import HttpServer
from tests.live.notifier.slack_server import SlackServer
from tests.unit.alerts import alert


@pytest.fixture
def slack() -> Iterator[SlackServer]:
    """Run a fake Slack server."""
    server = SlackServer()
    try:
        yield server
    finally:
        server.close()


def publish(connection: Connection, ids: list[str]) -> None:
    """Write alerts to their topic, across all partitions."""
    producer = make_producer(producer_config(connection, "test", queue_bytes=8 << 20) | ONE_IN_FLIGHT)
    for each in ids:
        data = encode_alert(alert(id=each, rule=f"Rule {each}", priority="Error"))
        producer.produce(connection.topic(ALERTS), data, each.encode())
    assert producer.flush(20) == 0


def messages(connection: Connection, topic: str, count: int, seconds: float = 30) -> list[dict[str, object]]:
    """Read so many messages of a topic."""
    reader = TopicReader(connection, connection.topic(topic), whole=True)
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
    """Return the ids that a file sink wrote."""
    whole = path.read_text().rpartition("\n")[0] if path.exists() else ""
    return [json.loads(line)["id"] for line in whole.splitlines()]


def wait_for_lines(path: Path, count: int, seconds: float = 40) -> list[str]:
    """Wait for so many different ids."""
    until = time.monotonic() + seconds
    while len(set(lines(path))) < count and time.monotonic() < until:
        time.sleep(0.1)
    return lines(path)


def overrides(tmp_path: Path) -> list[str]:
    """Return the settings of a file sink for tests."""
    return [
        *("-o", f"notifier.state_dir={tmp_path / 'state'}", "-o", "json_output=true"),
        *("-o", "file_output.enabled=true", "-o", f"file_output.filename={tmp_path / 'alerts'}"),
    ]


def test_documents_reach_the_siem_topics_with_cloudevents_headers(
    connection: Connection, processes: Processes, tmp_path: Path
) -> None:
    """Key and `ce_id` are the alert's id; delivered alerts are not repeated after a restart."""
    ids = [f"id-{number:03d}" for number in range(51)]
    for new in (ids[:50], ids[50:]):
        publish(connection, new)
        notifier = processes.start(connection, "notifier", "siem.ecs", *overrides(tmp_path))
        found = messages(connection, SIEM_ECS, ids.index(new[-1]) + 1)
        assert notifier.stop() == 0
    found = messages(connection, SIEM_ECS, 52, 1)
    assert sorted(str(json.loads(each["value"])["event"]["id"]) for each in found) == ids  # type: ignore[arg-type]
    headers = found[0]["headers"]
    assert isinstance(headers, dict)
    assert headers["content-type"] == b"application/json"
    assert headers["ce_id"] == found[0]["key"]
    assert headers["ce_type"] == b"lanner.siem.ecs"


def test_a_dead_slack_holds_nobody_up_and_a_refusal_is_a_dead_letter(
    connection: Connection, processes: Processes, tmp_path: Path, slack: SlackServer
) -> None:
    """A failing sink does not delay the other; only the refused alert is dead-lettered."""
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
    (refusal,) = dead
    headers = refusal["headers"]
    assert isinstance(headers, dict)
    assert (headers["reason"], headers["sink"], headers["attempts"]) == (b"invalid_blocks", b"slack", b"3")
    (posted,) = slack.posted
    delivered = posted["text"].split("Rule ")[1].split()[0]
    assert {delivered.encode(), refusal["key"]} == {b"one", b"two"}
    assert "made-up-token" not in notifier.errors + notifier.output


def test_a_webhook_gets_what_waited_in_order_and_its_secrets_are_nowhere_else(
    connection: Connection, processes: Processes, tmp_path: Path
) -> None:
    """While Slack is down nothing is dead-lettered; no message or argument shows token, URL or key."""
    receiver = HttpServer("splunk")
    receiver.faults = ["503", '403 {"text": "Invalid token made-up-token", "code": 4}']
    for name, text in (("url", f"{receiver.url}/made-up-path"), ("token", "made-up-token"), ("key", "made-up-key")):
        (tmp_path / name).write_text(text + "\n")
    settings = overrides(tmp_path)
    settings += ["-o", "webhook_output.format=splunk_hec", "-o", f"webhook_output.url_file={tmp_path / 'url'}"]
    settings += ["-o", f"webhook_output.token_file={tmp_path / 'token'}"]
    settings += ["-o", f"webhook_output.signing_secret_file={tmp_path / 'key'}"]
    ids = [f"id-{number:03d}" for number in range(40)]
    publish(connection, ids)
    try:
        notifier = processes.start(connection, "notifier", "webhook", "-v", *settings, program=FRESH)
        until = time.monotonic() + 40
        while len(found := taken_by(receiver)) < len(ids) and time.monotonic() < until:
            time.sleep(0.1)
        arguments = Path(f"/proc/{notifier.pid}/cmdline").read_text()
        assert notifier.stop() == 0
    finally:
        receiver.close()
    assert sorted(found) == ids
    assert messages(connection, NOTIFIER_DEAD_LETTERS, 1, 2) == []
    assert "alerts wait" in notifier.errors
    assert "made-up" not in notifier.errors + notifier.output + arguments


def taken_by(receiver: HttpServer) -> list[str]:
    """Return the ids of the events that a fake Splunk server accepted."""
    return [json.loads(line)["event"]["id"] for each in receiver.taken for line in each.body.splitlines()]


def test_two_webhooks_under_names_of_their_own_each_get_what_their_routes_state(
    connection: Connection, processes: Processes, tmp_path: Path
) -> None:
    """Each notifier has its own group and delivers independently; a secret in a variable belongs to one sink."""
    first, second = HttpServer(), HttpServer("splunk")
    settings = tmp_path / "named.yaml"
    settings.write_text(
        f"notifier: {{state_dir: {tmp_path / 'state'}}}\n"
        "sinks:\n"
        f"  pages: {{type: webhook, url: '{first.url}/', minimum_priority: error}}\n"
        f"  hec: {{type: webhook, url: '{second.url}/', format: splunk_hec}}\n"
        "routes:\n  - {match: {rule: 'Rule id-00*'}, sink: pages}\n  - {sink: hec}\n"
    )
    ids = [f"id-{number:03d}" for number in range(20)]
    publish(connection, ids)
    secret = {"LANNER_SINK_HEC_TOKEN": "made-up-token"}
    try:
        notifier = processes.start(connection, "notifier", "pages", "hec", "-c", str(settings), environment=secret)
        until = time.monotonic() + 40
        while (len(first.taken) < 10 or len(taken_by(second)) < len(ids)) and time.monotonic() < until:
            time.sleep(0.1)
        assert notifier.stop() == 0
    finally:
        first.close()
        second.close()
    assert sorted(json.loads(each.body)["id"] for each in first.taken) == ids[:10]
    assert sorted(taken_by(second)) == ids
    assert all("Authorization" not in each.headers for each in first.taken)
    assert "pages: 10 delivered, 0 attempts failed, 0 refused, 0 duplicates, 10 not routed to it" in notifier.errors


def test_what_lies_behind_a_message_that_cannot_be_dealt_with_now_comes_again(
    connection: Connection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While the dead letter of an invalid message can't be written, later alerts wait, and then follow in order."""
    monkeypatch.setattr(kafka_queue, "DEAD_LETTER_SECONDS", 1.0)
    dead_letters = connection.topic(NOTIFIER_DEAD_LETTERS)
    admin = AdminClient(client_config(connection, "test"))
    admin.delete_topics([dead_letters])[dead_letters].result()
    producer = make_producer(producer_config(connection, "test", queue_bytes=8 << 20) | ONE_IN_FLIGHT)
    for number in range(9):
        data = b"no alert" if number == 3 else encode_alert(alert(id=f"a{number}"))
        producer.produce(connection.topic(ALERTS), data, b"one", partition=0)
    assert producer.flush(20) == 0
    line = kafka_queue.KafkaQueue(connection, "file", tmp_path, SinkStats(), ignore_note)
    taken: list[str] = []
    failures: list[str] = []
    until = time.monotonic() + 60
    while len(taken) < 8 and time.monotonic() < until:
        try:
            queued = line.fetch(100, 0.5)
        except OSError as error:
            if not failures:
                create_missing(connection, plan(connection.prefix, PARTITIONS, 1, DAY_MS))
            failures.append(str(error))
            continue
        taken += [each.alert.id for each in queued]
        line.acknowledge(queued)
    line.close()
    assert failures
    assert taken == [f"a{number}" for number in range(9) if number != 3]
    (dead,) = messages(connection, NOTIFIER_DEAD_LETTERS, 2, 3)
    assert dead["value"] == b"no alert"
