"""Poison messages become dead letters, and other messages are evaluated as usual."""

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource, ResourceType  # type: ignore[attr-defined]  # re-exported without saying so

from bus.connection import Connection, client_config
from bus.messages import CLOCK, Headers
from bus.topics import (
    ALERTS,
    CORRELATE,
    CORRELATION_TABLE,
    EVENTS,
    NOTIFIER_DEAD_LETTERS,
    PROCESSOR_DEAD_LETTERS,
    changelog,
)
from processor.matching.pre_match import EventOrigin, Feed, PreMatch
from processor.matching.wire import encode_pre_match
from schemas.alert import encode_alert
from schemas.batch import Process
from schemas.encoding.batch import encode_batch
from tests.cluster.actions import RULES, Alerts, Generator, assert_exact, rules_file
from tests.cluster.processes import Processes, Running
from tests.cluster.test_dead_letters import dlq, everything
from tests.live.notifier.slack_server import SlackServer
from tests.unit.alerts import alert
from tests.unit.processor.batches import batch_of

WITH_MEMORY = f"""{RULES}
- macro: many_groups
  condition: evt.type = openat and fd.name startswith /group/
  correlation: {{type: event_count, group-by: [fd.name], timespan: 1h, condition: {{gte: 3}}}}
- rule: Many of a group
  desc: By a window.
  condition: many_groups
  output: "%correlation.count of %fd.name"
  priority: NOTICE
- rule: Repeated
  desc: Told once.
  condition: evt.type = unlink
  output: "%proc.cmdline"
  priority: NOTICE
  suppress: {{by: [evt.hostname], for: 1h}}
- rule: Evil
  desc: What the hostile host does.
  condition: evt.type = mkdir
  output: "%proc.cmdline %fs.path.name"
  priority: NOTICE
"""
Send = Callable[..., None]


@contextmanager
def hostile(connection: Connection) -> Iterator[Send]:
    """Provide a function that sends arbitrary bytes to a topic."""
    producers: dict[str, Producer] = {}

    def send(
        topic: str, value: bytes, headers: Headers | None = None, *, codec: str = "none", key: bytes = b"e"
    ) -> None:
        if codec not in producers:
            settings: dict[str, Any] = client_config(connection, "hostile")
            settings |= {"compression.type": codec, "message.max.bytes": 500_000_000, "linger.ms": 0}
            producers[codec] = Producer(settings | {"queue.buffering.max.kbytes": 1_000_000})
        producers[codec].produce(connection.topic(topic), value, key, headers=headers or [])
        assert producers[codec].flush(60) == 0

    yield send


def dead_letters(connection: Connection) -> list[tuple[str, bytes, dict[str, bytes]]]:
    """Return reason, value and headers of each dead letter, sorted by reason."""
    found = [(headers, value) for _, _, value, headers in everything(connection, PROCESSOR_DEAD_LETTERS)]
    reported = [(headers["reason"].decode(), value or b"", headers) for headers, value in found]
    return sorted(reported, key=lambda each: each[0])


def wait_for_dead_letters(connection: Connection, processor: Running, count: int, seconds: float = 60) -> list[str]:
    """Wait for so many dead letters, and return their reasons."""
    deadline = time.monotonic() + seconds
    while len(found := dead_letters(connection)) < count:
        assert processor.is_alive, processor.errors
        assert time.monotonic() < deadline, [reason for reason, _, _ in found]
        time.sleep(0.5)
    return [reason for reason, _, _ in found]


def limit(connection: Connection, topic: str, size: int) -> None:
    """Limit the message size of a topic."""
    entry = ConfigEntry("max.message.bytes", str(size), incremental_operation=AlterConfigOpType.SET)
    name = connection.topic(topic)
    admin = AdminClient(client_config(connection, "test"))
    for answer in admin.incremental_alter_configs(
        [ConfigResource(ResourceType.TOPIC, name, incremental_configs=[entry])]
    ).values():
        answer.result(10)


def resident_mib(process: Running) -> int:
    """Return a process's peak RSS."""
    status = Path(f"/proc/{process.pid}/status").read_text(encoding="ascii")
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM")) // 1024


def test_poison_beside_honest_hosts_stops_nothing(connection: Connection, processes: Processes, tmp_path: Path) -> None:
    """In both topics each becomes a dead letter with a reason, honest alerts are exact, and the process lives."""
    processor = processes.start(connection, "processor", rules=rules_file(tmp_path, WITH_MEMORY))
    processor.wait_for("evaluating rules:")
    before = resident_mib(processor)
    generator = Generator(connection)
    generator.act(2)
    act = {"type": "mkdir", "process": 0}
    evil = batch_of(act, host_id="evil", hostname="evil", sequence=1)
    origin = EventOrigin("evil", "boot", 1, 1, 0)
    feeding = PreMatch(origin, time.time_ns(), "evil", ("/group/x",), (Feed("no such term"),))
    long = [Process(pid=1, name="x", exe="x", args=("A" * 1_500_000,))]
    with hostile(connection) as send:
        send(EVENTS, encode_batch(replace(evil, sequence=2**43)))
        send(EVENTS, encode_batch(replace(evil, sequence=2**62)))
        send(EVENTS, encode_batch(replace(evil, created=2**63 - 1, lost={"x": 1})), [(CLOCK, b"10000000000")])
        send(EVENTS, encode_batch(replace(evil, hostname="h" * 100_000)))
        send(EVENTS, encode_batch(replace(evil, interest_version="v" * 4_000_000)), codec="zstd")
        send(EVENTS, encode_batch(replace(evil, processes=long)), codec="zstd")
        send(EVENTS, b"\xc3\x01garbage")
        many = batch_of(*[act] * 6_000, host_id="evil", hostname="evil", sequence=2)
        send(EVENTS, encode_batch(many), codec="zstd")
        for codec in ("gzip", "lz4", "zstd", "snappy"):
            size = (10 if codec == "snappy" else 200) << 20
            send(EVENTS, bytes(size), codec=codec)
        send(CORRELATE, b"\xc3\x01garbage")
        send(CORRELATE, encode_pre_match(replace(feeding, origin=replace(origin, sequence=2**62))))
        send(CORRELATE, encode_pre_match(replace(feeding, time=2**63 - 1)))
        send(CORRELATE, bytes(100 << 20), codec="gzip")
    generator.act(2)
    generator.flush()
    reasons = wait_for_dead_letters(connection, processor, 16)
    alerts = Alerts(connection)
    alerts.wait_for(len(generator.actions), 60)
    alerts.read(2)
    assert processor.is_alive, processor.errors
    peak = resident_mib(processor)
    assert processor.stop() == 0, processor.errors
    assert_exact(generator.actions, alerts)
    assert [reason.split(":")[0] for reason in reasons] == [
        *["not decodable"] * 10,
        *["not readable"] * 5,
        "over budget",
    ]
    assert sum("bytes decompressed" in reason for reason in reasons) == 5
    assert len([alert for alert in alerts.raw if alert.rule == "Evil"]) == 5_000
    (reported,) = [alert for alert in alerts.raw if alert.rule == "Lanner internal: batch over budget"]
    assert reported.hostname == "evil"
    assert peak - before < 400, (before, peak)
    alerts.close()


def test_what_the_broker_refuses_costs_its_own_message_alone(
    connection: Connection, processes: Processes, tmp_path: Path
) -> None:
    """Alerts, window states and dead letters that exceed a topic's limit do not affect others."""
    table = changelog(CORRELATION_TABLE)
    for topic, size in ((ALERTS, 20_000), (PROCESSOR_DEAD_LETTERS, 20_000), (table, 2_500)):
        limit(connection, topic, size)
    processor = processes.start(connection, "processor", rules=rules_file(tmp_path, WITH_MEMORY))
    processor.wait_for("evaluating rules:")
    generator = Generator(connection)
    generator.act(1)
    # Different in each field, so that it can't be compressed away.
    noise = {name: os.urandom(10_000).hex() for name in ("exe", "exepath", "cwd", "cgroup")}
    evil = [Process(pid=1, name="x", args=(os.urandom(30_000).hex(),), **noise)]
    honest = [Process(pid=1, name="x", exe="x", args=("short",))]
    with hostile(connection) as send:
        for host, rows in (("evil", evil), ("good", honest)):
            for sequence, kind in ((1, "mkdir"), (2, "unlink")):
                event = {"type": kind, "process": 0, "time": time.time_ns()}
                batch = batch_of(event, processes=rows, host_id=host, hostname=host, sequence=sequence)
                send(EVENTS, encode_batch(batch), codec="zstd", key=host.encode())
    generator.act(1)
    generator.flush()
    reasons = wait_for_dead_letters(connection, processor, 2)
    alerts = Alerts(connection)
    alerts.wait_for(len(generator.actions), 60)
    deadline = time.monotonic() + 30
    while sum(alert.hostname == "good" for alert in alerts.raw) < 2 and time.monotonic() < deadline:
        alerts.read(0.5)
    assert processor.is_alive, processor.errors
    assert processor.stop() == 0, processor.errors
    assert_exact(generator.actions, alerts)
    assert sorted(alert.rule for alert in alerts.raw if alert.hostname == "good") == ["Evil", "Repeated"]
    assert reasons[0].startswith("1 of its results were refused: ")
    assert reasons[1].startswith("an alert that it caused was refused: ")
    assert [int(headers["omitted_bytes"]) > 20_000 for _, _, headers in dead_letters(connection)] == [True, True]
    states = {key: value for _, key, value, _ in everything(connection, table)}
    assert sum(value is not None for key, value in states.items() if not key.startswith(b"Lanner internal")) == 1
    alerts.close()


def test_a_text_that_fits_a_message_makes_an_alert_that_fits_too(
    connection: Connection, processes: Processes, tmp_path: Path
) -> None:
    """The alert's text is clipped with a mark, although the rule names it three times."""
    processor = processes.start(connection, "processor", rules=rules_file(tmp_path, WITH_MEMORY))
    processor.wait_for("evaluating rules:")
    rows = [Process(pid=1, name="x", exe="x", args=("A" * 250_000,) * 4)]
    batch = batch_of({"type": "mkdir", "process": 0, "time": time.time_ns()}, processes=rows, host_id="evil")
    with hostile(connection) as send:
        send(EVENTS, encode_batch(batch), codec="zstd")
    alerts = Alerts(connection)
    deadline = time.monotonic() + 30
    while not alerts.raw and time.monotonic() < deadline:
        alerts.read(0.5)
    (alert,) = alerts.raw
    assert "more bytes]" in str(alert.event["proc.cmdline"])
    assert len(alert.output) <= 64 << 10
    assert processor.stop() == 0, processor.errors
    assert everything(connection, PROCESSOR_DEAD_LETTERS) == []
    alerts.close()


def test_an_alert_that_a_sink_and_the_dead_letters_refuse_holds_up_no_other(
    connection: Connection, processes: Processes, tmp_path: Path
) -> None:
    """The dead letter omits the message, the next alert is delivered, and replay finds the original."""
    limit(connection, NOTIFIER_DEAD_LETTERS, 2_000)
    slack = SlackServer()
    slack.faults = ["invalid_blocks"]
    (tmp_path / "token").write_text("made-up-token\n")
    settings = ["-o", f"slack_output.token_file={tmp_path / 'token'}", "-o", "slack_output.channel=#alerts"]
    settings += ["-o", f"slack_output.api_url={slack.api}", "-o", f"notifier.state_dir={tmp_path / 'state'}"]
    large = alert(id="large", output=os.urandom(5_000).hex())
    with hostile(connection) as send:
        send(ALERTS, encode_alert(large), key=b"one")
    try:
        notifier = processes.start(connection, "notifier", "slack", *settings)
        notifier.wait_for("`lanner dlq list`")
        with hostile(connection) as send:
            send(ALERTS, encode_alert(alert(id="next")), key=b"one")
        deadline = time.monotonic() + 30
        while not slack.posted and time.monotonic() < deadline:
            time.sleep(0.05)
        assert len(slack.posted) == 1
        ((_, _, value, headers),) = everything(connection, NOTIFIER_DEAD_LETTERS)
        assert (value, int(headers["omitted_bytes"]) > 10_000) == (b"", True)
        assert dlq(connection, "replay", "notifier:0").returncode == 0
        deadline = time.monotonic() + 30
        while len(slack.posted) < 2 and time.monotonic() < deadline:
            time.sleep(0.05)
        assert len(slack.posted) == 2
        assert notifier.stop() == 0
    finally:
        slack.close()
