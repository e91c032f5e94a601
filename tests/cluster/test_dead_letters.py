import json
import subprocess
import time
from pathlib import Path

import pytest

from bus.clients.producers import make_producer, producer_config
from bus.clients.readers import TopicReader
from bus.connection import Connection
from bus.messages import NOT_FETCHED, Headers, dead_letter
from bus.topics import ALERTS, EVENTS, NOTIFIER_DEAD_LETTERS, PROCESSOR_DEAD_LETTERS
from schemas.alert import decode_alert, encode_alert
from tests.cluster.processes import ONE_IN_FLIGHT, Processes
from tests.cluster.test_notifier import lines, overrides, wait_for_lines
from tests.live.notifier.slack_server import SlackServer
from tests.unit.alerts import alert
from tests.unit.lanner.program import fresh as lanner


def write_dead_letter(connection: Connection, topic: str, value: bytes, headers: Headers, key: bytes = b"k") -> None:
    """Write a dead letter as a stage does."""
    producer = make_producer(producer_config(connection, "test", queue_bytes=8 << 20) | ONE_IN_FLIGHT)
    producer.produce(connection.topic(topic), value, key, headers=list(headers))
    assert producer.flush(20) == 0


def refused(sink: str, **facts: str) -> tuple[bytes, Headers]:
    """Return an alert that a sink refused, and the notifier's headers."""
    headers = dead_letter("invalid_blocks", ("t.alerts", 3, 17), None, b"", [("ce_id", b"one")]).headers
    return encode_alert(alert(**facts)), [*headers, ("sink", sink.encode()), ("attempts", b"2")]


def dlq(connection: Connection, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run `lanner dlq` and return the process."""
    environment = {
        "LANNER__KAFKA__BOOTSTRAP_SERVERS": connection.bootstrap_servers,
        "LANNER__KAFKA__PREFIX": connection.prefix,
    }
    return lanner("dlq", *arguments, environment=environment)


def everything(connection: Connection, topic: str) -> list[tuple[int, bytes | None, bytes | None, dict[str, bytes]]]:
    """Read a whole topic."""
    reader = TopicReader(connection, connection.topic(topic), whole=True)
    found = []
    until = time.monotonic() + 20
    while not reader.has_read_all and time.monotonic() < until:
        message = reader.poll(0.2)
        if message is not None:
            headers = dict(message.headers() or [])
            found.append((message.partition() or 0, message.key(), message.value(), headers))
    reader.close()
    return found


def test_what_a_sink_refused_is_listed_shown_and_replayed_to_that_sink_alone(
    connection: Connection, processes: Processes, tmp_path: Path
) -> None:
    """A replayed alert reaches only the sink that had refused it, and is no longer listed."""
    slack = SlackServer()
    slack.faults = ["invalid_blocks"]
    (tmp_path / "token").write_text("made-up-token\n")
    settings = overrides(tmp_path)
    settings += ["-o", f"slack_output.token_file={tmp_path / 'token'}", "-o", "slack_output.channel=#alerts"]
    settings += ["-o", f"slack_output.api_url={slack.api}"]
    producer = make_producer(producer_config(connection, "test", queue_bytes=8 << 20) | ONE_IN_FLIGHT)
    producer.produce(connection.topic(ALERTS), encode_alert(alert(id="one", rule="A \x1b[2Jrule")), b"one")
    assert producer.flush(20) == 0
    try:
        notifier = processes.start(connection, "notifier", "slack", "file", *settings)
        wait_for_lines(tmp_path / "alerts", 1)
        notifier.wait_for("`lanner dlq list`")
        listed = [json.loads(line) for line in dlq(connection, "list", "--format", "json").stdout.splitlines()]
        assert [(each["id"], each["sink"], each["reason"]) for each in listed] == [
            ("notifier:0", "slack", "invalid_blocks")
        ]
        shown = dlq(connection, "show", "notifier:0").stdout
        assert "\x1b" not in shown
        assert "/etc/shadow" in shown
        assert "\x1b" not in dlq(connection, "list").stdout
        assert dlq(connection, "replay", "--all", "--sink", "slack", "--dry-run").stdout == "notifier:0\n"
        assert not slack.posted
        assert dlq(connection, "replay", "--all", "--sink", "slack", "--reason", "invalid*").returncode == 0
        until = time.monotonic() + 20
        while not slack.posted and time.monotonic() < until:
            time.sleep(0.05)
        assert len(slack.posted) == 1
        second = dlq(connection, "list")
        assert (second.stdout, second.returncode) == ("", 0)
        assert notifier.stop() == 0
    finally:
        slack.close()
    assert lines(tmp_path / "alerts") == ["one"]


def test_a_processors_message_goes_back_into_its_own_partition_as_it_was(connection: Connection) -> None:
    """Replay restores value, key and headers, and only to the processor's topics."""
    headers = dead_letter("no batch", (connection.topic(EVENTS), 3, 9), None, b"", [("lanner_sent", b"1")]).headers
    write_dead_letter(connection, PROCESSOR_DEAD_LETTERS, b"\xc3\x01garbage", headers)
    hostile = dead_letter("no batch", (connection.topic("rules"), 0, 9), None, b"").headers
    write_dead_letter(connection, PROCESSOR_DEAD_LETTERS, b"evil", hostile)
    shown = dlq(connection, "show", "processor:0").stdout
    assert "9 bytes that are neither an alert nor a batch" in shown
    assert f"{connection.topic(EVENTS)}[3] at 9" in shown
    assert dlq(connection, "replay", "processor:0").returncode == 0
    assert everything(connection, EVENTS) == [(3, b"k", b"\xc3\x01garbage", {"lanner_sent": b"1"})]
    failed = dlq(connection, "replay", "processor:1")
    assert failed.returncode == 1
    assert "not a topic of the processor; drop it" in failed.stderr
    assert everything(connection, "rules") == []


def test_a_dead_letter_without_its_message_is_replayed_from_the_original_topic(connection: Connection) -> None:
    """Dead letters without their message are replayed from the original topic; if that fails, they stay."""
    producer = make_producer(producer_config(connection, "test", queue_bytes=8 << 20) | ONE_IN_FLIGHT)
    producer.produce(connection.topic(EVENTS), b"before", b"a", partition=3)
    producer.produce(connection.topic(EVENTS), b"too large", b"host", headers=[("lanner_sent", b"1")], partition=3)
    producer.produce(connection.topic(ALERTS), encode_alert(alert(id="one")), b"one", partition=0)
    assert producer.flush(20) == 0
    events, alerts = connection.topic(EVENTS), connection.topic(ALERTS)
    for position, size in (((events, 3, 1), 9), ((events, 3, 7), 9), ((events, 3, 0), 9), ((alerts, 0, 0), 0)):
        value = encode_alert(alert(id="one")) if position[0] == alerts else bytes(size)
        made = dead_letter("refused", position, b"k", value, facts=[("sink", b"slack")]).without_message()
        write_dead_letter(
            connection,
            NOTIFIER_DEAD_LETTERS if position[0] == alerts else PROCESSOR_DEAD_LETTERS,
            b"",
            made.headers,
            b"",
        )
    unread = dead_letter("not readable", (events, 3, 1), None, None, facts=[(NOT_FETCHED, b"yes")])
    write_dead_letter(connection, PROCESSOR_DEAD_LETTERS, b"", unread.headers, b"")
    assert "9 bytes, too large for a dead letter" in dlq(connection, "show", "processor:0").stdout
    done = dlq(connection, "replay", "processor:0", "notifier:0")
    assert done.returncode == 0, done.stderr
    assert everything(connection, EVENTS)[-1] == (3, b"host", b"too large", {"lanner_sent": b"1"})
    ((key, value),) = [(key, value) for _, key, value, headers in everything(connection, ALERTS) if headers]
    assert (key, decode_alert(value or b"").id) == (b"one", "one")
    for each, why in (("1", "is no longer there"), ("2", "is no longer there"), ("3", "can't be read")):
        failed = dlq(connection, "replay", f"processor:{each}")
        assert (failed.returncode, why in failed.stderr) == (1, True), failed.stderr
    assert len(dlq(connection, "list", "--format", "json").stdout.splitlines()) == 3


def test_a_dropped_dead_letter_stays_on_record_with_the_reason(connection: Connection) -> None:
    """A settled dead letter is marked in the topic; settling it again is an error."""
    for sink in ("slack", "syslog", "slack"):
        write_dead_letter(connection, NOTIFIER_DEAD_LETTERS, *refused(sink, rule=f"Rule of {sink}"))
    done = dlq(connection, "drop", "--all", "--sink", "slack", "--note", "wrong channel")
    assert done.stdout.split() == ["notifier:0", "notifier:2"]
    assert "dropped 2." in done.stderr
    assert "Rule of syslog" in dlq(connection, "list").stdout
    marks = [headers for _, _, value, headers in everything(connection, NOTIFIER_DEAD_LETTERS) if value is None]
    assert marks[0] == {"settles": b"0", "how": b"dropped", "note": b"wrong channel"}
    second = dlq(connection, "replay", "notifier:2", "notifier:1")
    assert second.returncode == 1
    assert "notifier:2: no such dead letter, or it is already replayed or dropped" in second.stderr
    ((_, _, value, headers),) = everything(connection, ALERTS)
    assert decode_alert(value or b"").rule == "Rule of syslog"
    assert headers == {"ce_id": b"one", "lanner_sink": b"syslog"}


@pytest.mark.parametrize("wrong", ["one", "outbox:1", "notifier:x", "notifier:"])
def test_an_invalid_id_is_reported(connection: Connection, wrong: str) -> None:
    """The error for an invalid id shows the form of ids."""
    reported = dlq(connection, "show", wrong)
    assert reported.returncode == 1
    assert "is not a valid dead-letter id, such as notifier:12" in reported.stderr
