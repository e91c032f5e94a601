import time
from pathlib import Path

from confluent_kafka.admin import AdminClient

from bus.administration import create_missing
from bus.clients.readers import committed
from bus.connection import Connection, client_config
from bus.topics import ALERTS, CORRELATE, DAY_MS, EVENTS, PROCESSOR_GROUP, plan
from tests.cluster.actions import RULES, Alerts, Generator, assert_exact, rules_file
from tests.cluster.conftest import PARTITIONS
from tests.cluster.processes import Processes

BY_WINDOW = "An act by a window"
EACH_BY_BOTH = f"""{RULES}
- macro: one_act
  condition: evt.type = openat and fd.name startswith /marked/
  correlation: {{type: event_count, group-by: [fd.name], timespan: 1h, condition: {{gte: 1}}}}
- rule: {BY_WINDOW}
  desc: Each act again, by way of the correlate topic.
  condition: one_act
  output: "%fd.name"
  priority: NOTICE
"""
COMMITS = 4
"""Seconds in which a processor commits several times."""


def _position(connection: Connection, topic: str) -> int:
    group = connection.topic(PROCESSOR_GROUP)
    return sum(committed(connection, group, connection.topic(topic), range(PARTITIONS)).values())


def _by_window(alerts: Alerts) -> set[str]:
    return {alert.id for alert in alerts.raw if alert.rule == BY_WINDOW}


def test_what_is_not_safe_with_the_broker_is_not_acknowledged(
    connection: Connection, processes: Processes, tmp_path: Path
) -> None:
    """While no alert can be sent, no offset is committed, so killing the processor loses nothing."""
    rules = rules_file(tmp_path, EACH_BY_BOTH)
    first = processes.start(connection, "processor", rules=rules)
    first.wait_for("evaluating rules:")
    admin = AdminClient(client_config(connection, "test"))
    admin.delete_topics([connection.topic(ALERTS)])[connection.topic(ALERTS)].result(10)
    generator = Generator(connection)
    generator.act(6)
    generator.flush()
    time.sleep(COMMITS)
    assert first.is_alive, first.errors
    assert _position(connection, EVENTS) == 0
    assert _position(connection, CORRELATE) == 0
    first.kill()
    create_missing(connection, plan(connection.prefix, PARTITIONS, 1, DAY_MS))
    second = processes.start(connection, "processor", rules=rules)
    alerts = Alerts(connection)
    alerts.wait_for(len(generator.actions), 60)
    deadline = time.monotonic() + 30
    while len(_by_window(alerts)) < len(generator.actions) or _position(connection, EVENTS) < len(generator.actions):
        assert time.monotonic() < deadline
        alerts.read(0.2)
    assert second.stop() == 0, second.errors
    alerts.read(1)
    assert_exact(generator.actions, alerts)
    assert len(_by_window(alerts)) == len(generator.actions)
    alerts.close()
