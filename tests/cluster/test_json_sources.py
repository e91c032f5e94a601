"""Processors that read events of JSON from topics of others, on a real broker."""

import json
import time
from pathlib import Path

import pytest
from confluent_kafka.admin import AdminClient, NewTopic

from bus.administration import GroupLags
from bus.connection import Connection
from bus.topics import PROCESSOR_DEAD_LETTERS, PROCESSOR_GROUP
from foundation.quantities import iso8601_zulu
from processor.output.internal_alerts import EVENT_REFUSED
from schemas.batch import EventBit
from tests.cluster import dying_processor
from tests.cluster.actions import Alerts, Generator, rules_file
from tests.cluster.processes import Processes, Running
from tests.cluster.test_dead_letters import everything
from tests.unit.processor.batches import batch_of
from tests.unit.processor.correlation.rules import rule
from tests.unit.processor.detection.requests import line, request
from tests.unit.processor.matching.mixed import BOTH, LEGS, on_audit
from tests.unit.processor.sessions import shells

RULES = """
- rule: Sale
  desc: Somebody buys much.
  condition: shop.sum > 9
  output: "%shop.sum"
  priority: NOTICE
  source: shop
"""
MAPPING = """
source: shop
key: /id
row: [shop.id]
fields:
  shop.id: /id
  shop.sum: {at: /sum, type: integer}
"""
SALES = 60


def processor(processes: Processes, connection: Connection, folder: Path, dies: str = "", *options: str) -> Running:
    """Start a processor that reads the topic."""
    mapping = folder / "shop.yaml"
    mapping.write_text(MAPPING)
    sources = json.dumps([{"mapping": str(mapping), "topic": f"{connection.prefix}shop"}])
    program = (dying_processor.PROGRAM, dies) if dies else ()
    words = ("processor", "-o", f"json_sources={sources}", *options)
    made = processes.start(connection, *words, rules=rules_file(folder, RULES), program=program)
    made.wait_for("evaluating rules: 1 rule")
    return made


def create(connection: Connection) -> None:
    """Create the topic, as its owner would: with another number of partitions than Lanner's."""
    admin = AdminClient({"bootstrap.servers": connection.bootstrap_servers})
    (created,) = admin.create_topics([NewTopic(f"{connection.prefix}shop", 5, 1)]).values()
    created.result(30)


@pytest.mark.parametrize("dies", ["json evaluated:3", "json results sent:3"])
def test_sales_of_a_topic_of_others_become_alerts_over_a_kill(
    connection: Connection, processes: Processes, tmp_path: Path, dies: str
) -> None:
    """Alerts that come twice have the same ids, events without a time included; nonsense becomes a dead letter."""
    create(connection)
    generator, alerts = Generator(connection), Alerts(connection)
    for number in range(SALES):
        generator.send(json.dumps({"id": f"s{number}", "sum": 10 + number}).encode(), f"{number}", topic="shop")
    generator.send(b"nonsense", "x", topic="shop")
    generator.flush()
    dying = processor(processes, connection, tmp_path, dies)
    deadline = time.monotonic() + 60
    while dying.is_alive:
        assert time.monotonic() < deadline
        time.sleep(0.2)
    last = processor(processes, connection, tmp_path)
    while len({alert.event["shop.id"] for alert in alerts.raw if alert.rule == "Sale"}) < SALES:
        assert time.monotonic() < deadline + 60
        alerts.read(0.5)
    alerts.read(2)

    assert len({alert.id for alert in alerts.raw if alert.rule == "Sale"}) == SALES
    assert {alert.rule for alert in alerts.raw} == {"Sale", EVENT_REFUSED}
    reasons = {dict(headers)["reason"] for _, _, _, headers in everything(connection, PROCESSOR_DEAD_LETTERS)}
    assert {reason.split(b":")[0] for reason in reasons} == {b"not an event of shop"}
    assert last.stop() == 0
    lags = GroupLags(connection, [f"{connection.prefix}shop"]).read()
    waiting = {each.topic: each.waiting for each in lags if each.group == PROCESSOR_GROUP}
    assert waiting["shop"] == 0
    generator.send(b"{}", "x", topic="shop")
    generator.flush()
    (left,) = (each for each in GroupLags(connection, [f"{connection.prefix}shop"]).read() if each.topic == "shop")
    assert left.waiting == 1
    assert time.time() - (left.oldest or 0) < 60
    alerts.close()


def test_repeats_in_messages_are_counted_once_over_a_kill(
    connection: Connection, processes: Processes, tmp_path: Path
) -> None:
    """Another processor evaluates the messages again; the first alerts are sent, and each other one is in a summary."""
    create(connection)
    generator, alerts = Generator(connection), Alerts(connection)
    for message in range(3):
        sales = [{"id": f"s{message}-{number}", "sum": 10} for number in range(20)]
        generator.send(json.dumps(sales).encode(), "one partition", topic="shop")
    generator.flush()
    options = ("-o", "repeated_alerts.enabled=true", "-o", "repeated_alerts.period_seconds=5")
    dying = processor(processes, connection, tmp_path, "json results sent:1", *options)
    deadline = time.monotonic() + 120
    while dying.is_alive:
        assert time.monotonic() < deadline
        time.sleep(0.2)
    last = processor(processes, connection, tmp_path, "", *options)

    def counted() -> list[int]:
        found = {alert.id: alert for alert in alerts.raw if alert.rule == "Sale"}
        return [1 if alert.repeats is None else alert.repeats.count for alert in found.values()]

    while sum(counted()) < 60:
        assert time.monotonic() < deadline, counted()
        alerts.read(0.5)
    alerts.read(2)

    assert (sum(counted()), counted().count(1)) == (60, 5)
    assert last.stop() == 0
    alerts.close()


def test_a_topic_that_does_not_exist_is_reported(connection: Connection, processes: Processes, tmp_path: Path) -> None:
    """It would look as if there were no events."""
    (tmp_path / "shop.yaml").write_text(MAPPING)
    sources = json.dumps([{"mapping": str(tmp_path / "shop.yaml"), "topic": "nowhere"}])
    words = ("processor", "-o", f"json_sources={sources}")
    made = processes.start(connection, *words, rules=rules_file(tmp_path, RULES))

    assert made.result() == 1
    assert "json_sources: topic nowhere does not exist" in made.errors


def test_two_processors_join_audit_events_with_system_calls(
    connection: Connection, processes: Processes, tmp_path: Path
) -> None:
    """Each event is evaluated where its partition is, and the window where its group is; either may come last."""
    output = "%correlation.leg[secret_requested].ka.user.name"
    text = "".join([LEGS, BOTH.format(type="temporal"), rule("both", output, name="Call"), on_audit("both", output)])
    for _ in range(2):
        made = processes.start(connection, "processor", rules=rules_file(tmp_path, text))
        made.wait_for("evaluating rules: 2 rules")
    generator, alerts = Generator(connection), Alerts(connection)
    now = time.time_ns()
    for number in range(20):
        name = f"/marked/{number}"
        opened = {"type": "openat", "fd_name": name, "bits": int(EventBit.HAS_RES | EventBit.OPEN_READ), "time": now}
        batch = batch_of(opened, host_id=f"h{number}", hostname=f"h{number}", sequence=1)
        audit = request(
            auditID=f"a{number}", stageTimestamp=iso8601_zulu(now), objectRef={"resource": "secrets", "name": name}
        )
        generator.publish(batch)
        generator.send(line(audit), f"{number}", topic="kubernetes-audit")
    generator.flush()
    deadline = time.monotonic() + 60
    while len(joined := [alert for alert in alerts.raw if alert.rule in ("Call", "Found")]) < 20:
        assert time.monotonic() < deadline, len(joined)
        alerts.read(0.5)
    alerts.read(2)

    assert sorted(alert.window.group["name"] for alert in joined if alert.window) == sorted(
        f"/marked/{number}" for number in range(20)
    )
    assert {alert.output.split()[0] for alert in joined} == {"alice"}
    alerts.close()


def test_alerts_name_the_person_whichever_processor_has_the_host(
    connection: Connection, processes: Processes, tmp_path: Path
) -> None:
    """One of them evaluates the audit event, and passes the request on."""
    text = rule("evt.type = execve and proc.name = sh", name="Shell")
    for _ in range(2):
        made = processes.start(connection, "processor", rules=rules_file(tmp_path, text))
        made.wait_for("evaluating rules: 1 rule")
    generator, alerts = Generator(connection), Alerts(connection)
    now = (time.time_ns() - shells.START) / shells.SECOND
    generator.send(line(shells.requested(now).document), "x", topic="kubernetes-audit")
    generator.flush()
    time.sleep(2)
    for number in range(8):
        generator.publish(shells.started(now + 1, host=f"host-{number}"))
    generator.flush()
    deadline = time.monotonic() + 60
    while len(alerts.raw) < 8:
        assert time.monotonic() < deadline
        alerts.read(0.5)

    assert {alert.output_fields.get("session.user") for alert in alerts.raw} == {"eve"}
    alerts.close()
