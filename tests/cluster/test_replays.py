"""Batches of an honest host that an attacker appends again, with a real broker and real processors."""

import time
from pathlib import Path

from confluent_kafka.admin import AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource, ResourceType

from bus.connection import Connection, client_config
from bus.messages import CLOCK
from bus.topics import ALERTS, EVENTS
from processor.hosts.arrival import CLOCK_SKEW
from processor.hosts.liveness import HOST_BACK
from processor.output.internal_alerts import DUPLICATE_HOST_ID, EVENTS_LOST
from tests.cluster.actions import Alerts, assert_exact, rules_file
from tests.cluster.identities import HostileHost, SigningHost, start, wait_for_dead_letters
from tests.cluster.processes import Processes
from tests.cluster.test_host_keys import messages_of


def test_batches_of_former_starts_change_nothing_after_a_processor_was_killed(
    connection: Connection, processes: Processes, tmp_path: Path
) -> None:
    """Alerts keep their ids, and no alarm about gaps, twins or clocks accuses the host whose batches are replayed."""
    rules = rules_file(tmp_path)
    web, evil = SigningHost(connection, "web-1", tmp_path), HostileHost(connection, tmp_path)
    first = start(connection, processes, rules)
    alerts = Alerts(connection)
    for _ in range(6):
        web.restart()
        web.start = time.time_ns()
        web.act(3)
        assert web.stop() == 0
    alerts.wait_for(len(web.actions), 30)
    first.kill()
    sent = messages_of(connection, EVENTS)
    assert any(CLOCK not in dict(headers) for _, _, headers in sent)
    second = start(connection, processes, rules)
    # So late that a batch without a measured clock would get another date.
    time.sleep(6)
    for _ in range(3):
        for key, value, headers in sent:
            evil.repeat(value, key.decode(), headers)
    evil.flush()
    web.act(3)
    assert web.stop() == 0
    alerts.wait_for(len(web.actions), 30)
    alerts.read(2)

    assert_exact(web.actions, alerts)
    internal = {alert.rule for alert in alerts.raw if alert.source == "internal"}
    assert not internal & {DUPLICATE_HOST_ID, EVENTS_LOST, HOST_BACK, CLOCK_SKEW}, internal
    assert max(ids.total() for ids in alerts.marks().values()) <= 2
    assert second.stop() == 0, second.errors
    alerts.close()


def test_a_dead_letter_of_a_batch_whose_alerts_were_refused_is_evaluated_again(
    connection: Connection, processes: Processes, tmp_path: Path
) -> None:
    """Its number was seen, but its alerts never arrived."""
    worker = start(connection, processes, rules_file(tmp_path))
    web, alerts = SigningHost(connection, "web-1", tmp_path), Alerts(connection)
    web.act(2)
    assert web.stop() == 0
    alerts.wait_for(2, 30)
    limit_alerts(connection, 100)
    web.restart()
    web.act(2)
    assert web.stop() == 0
    wait_for_dead_letters(connection, 2)
    limit_alerts(connection, 1 << 22)
    replay = processes.start(connection, "dlq", "replay", "--all")
    assert replay.result() == 0, replay.errors
    alerts.wait_for(4, 30)
    assert_exact(web.actions, alerts)
    assert worker.stop() == 0, worker.errors
    alerts.close()


def limit_alerts(connection: Connection, most: int) -> None:
    """Set the size of messages that the topic of alerts accepts."""
    client = AdminClient(client_config(connection, "test"))
    entry = ConfigEntry("max.message.bytes", str(most), incremental_operation=AlterConfigOpType.SET)
    resource = ConfigResource(ResourceType.TOPIC, connection.topic(ALERTS), incremental_configs=[entry])
    client.incremental_alter_configs([resource])[resource].result(10)
