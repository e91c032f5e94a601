"""What processors take of the audit events of other partitions."""

import time

import pytest
from confluent_kafka import Producer

from bus.connection import Connection
from processor.audit.sessions import Sessions
from processor.fleet.audit.follower import SessionsFollower, take
from processor.fleet.message_stage import MessageStage
from schemas.codec import encode_batch
from schemas.text.notes import ignore_note
from tests.unit.alerts import alert as alert_of
from tests.unit.processor.audit import shells
from tests.unit.processor.audit.requests import exec_request, line, request
from tests.unit.processor.correlation.rules import rule, ruleset_of

NOW = shells.START // 1_000_000 + 2000


def test_alerts_about_a_requested_command_name_the_person() -> None:
    """The processor that has the host's partition does it, whoever evaluates the audit event."""
    stage = MessageStage(ruleset_of(rule("evt.type = execve and proc.name = sh")), clock=lambda: 0.0)
    take(stage.sessions, line(shells.requested(0).document), NOW)

    (alert,) = stage.take(0, encode_batch(shells.started(1)), NOW).alerts

    assert alert.output_fields["session.user"] == "eve"


@pytest.mark.parametrize("value", [b"", b"/exec?", b'{"a": "/exec?"}', line(request()), line([exec_request("sh")])])
def test_what_is_no_request_is_ignored(value: bytes) -> None:
    """It is a dead letter elsewhere, if it is wrong."""
    sessions = Sessions()

    take(sessions, value, NOW)
    sessions.see_batch(shells.started(1))


def test_a_running_processor_follows_the_topic() -> None:
    """Here, the broker is the one that the client library simulates."""
    producer = Producer({"test.mock.num.brokers": "1", "bootstrap.servers": "unused:1", "log_level": 0})
    (broker,) = producer.list_topics(timeout=20).brokers.values()
    connection = Connection(bootstrap_servers=f"{broker.host}:{broker.port}", prefix="t.")
    now = (time.time_ns() - shells.START) / shells.SECOND
    sessions, start = Sessions(), shells.started(now + 1)
    producer.produce("t.kubernetes-audit", b"another")
    assert producer.flush(20) == 0
    follower = SessionsFollower(connection, sessions, on_note=ignore_note)
    follower.start()
    alert, deadline = alert_of(event={"evt.num": start.first_number}, host_id=start.host_id), time.monotonic() + 20
    while sessions.named(alert, start) is alert:
        assert time.monotonic() < deadline
        producer.produce("t.kubernetes-audit", line(shells.requested(now).document))
        producer.flush(1)
        sessions.see_batch(start)

    follower.finish()
