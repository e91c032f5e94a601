"""Batches of an honest host that an attacker appends again, with a real broker and real processors."""

import time
from pathlib import Path

from bus.connection import Connection
from bus.messages.headers import CLOCK
from bus.topics import EVENTS
from processor.detection.internal_alerts import DUPLICATE_HOST_ID, EVENTS_LOST
from processor.hosts.clock_skew import CLOCK_SKEW
from processor.hosts.liveness import HOST_BACK
from tests.cluster.actions import Alerts, assert_exact, rules_file
from tests.cluster.identities import HostileHost, SigningHost, start
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
