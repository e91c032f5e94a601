"""Batches that exceed the topic's limit: all events that fit arrive, and none twice."""

import base64
import os
from dataclasses import replace
from pathlib import Path

from confluent_kafka.admin import AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource, ResourceType

from bus.connection import Connection, client_config
from bus.topics import EVENTS
from collector.processes.rows import ProcessRows
from collector.processes.table import ProcessTable
from collector.publishing.spool import REFUSED
from processor.fleet.message_stage import BATCHES_MISSING
from processor.hosts.identity import NOT_VERIFIED
from processor.output.internal_alerts import EVENTS_LOST
from schemas.batch import EventBatch
from tests.cluster.actions import Alerts, assert_exact, rules_file
from tests.cluster.broker import Broker
from tests.cluster.conftest import PARTITIONS, with_topics
from tests.cluster.identities import SigningHost, start
from tests.cluster.notices import wait_for_sum
from tests.cluster.processes import Processes
from tests.unit.collector.processes.synthetic import EPOCH, Proc, execution, fork, identity
from tests.unit.collector.processes.test_rows import Facts, NamesByRule
from tests.unit.processor.batches import batch_of

LIMIT = 100_000


def noise(size: int) -> str:
    """Return an incompressible text."""
    return base64.urlsafe_b64encode(os.urandom(size)).decode()


def limit_messages(connection: Connection, size: int) -> None:
    """Limit the message size of the events topic."""
    entry = ConfigEntry("max.message.bytes", str(size), incremental_operation=AlterConfigOpType.SET)
    resource = ConfigResource(ResourceType.TOPIC, connection.topic(EVENTS), incremental_configs=[entry])
    admin = AdminClient(client_config(connection, "test"))
    for done in admin.incremental_alter_configs([resource]).values():
        done.result(20)


def act(host: SigningHost, sizes: list[int]) -> None:
    """Publish one batch with an action per size; record those that can arrive."""
    marks = [f"{host.start}-{host.sequence}-{index}-{noise(size)}" for index, size in enumerate(sizes)]
    host.actions += [mark for mark, size in zip(marks, sizes, strict=True) if size < LIMIT]
    host.publisher.publish(replace(host.batch(*marks), lost={"events_ring_full": 5}))
    host.publisher.poll()


def test_what_the_broker_refuses_is_halved_until_it_fits(
    own_broker: Broker, processes: Processes, tmp_path: Path
) -> None:
    """Live and from the spool, only the oversized event is lost, and no batch is missing or rejected."""
    connection = with_topics(own_broker, PARTITIONS)
    limit_messages(connection, LIMIT)
    host = SigningHost(connection, "host-1", tmp_path)
    start(connection, processes, rules_file(tmp_path), "trust_on_first_use")
    large = [*[9_000] * 20, 150_000, *[9_000] * 20]

    for sizes in ([10], large, [10], [10], large, [10]):
        act(host, sizes)
    publisher = host.publisher
    assert host.stop(60) == 0
    assert dict(publisher.losses) == {REFUSED: 2}
    assert len(host.notes) == 1
    assert "raise max.message.bytes" in host.notes[0]

    host.restart()
    own_broker.stop()
    for sizes in ([10], large, [10]):
        act(host, sizes)
    assert host.stop(3) > 0 or any((host.folder / "spool").iterdir())
    host.restart()
    own_broker.start()
    act(host, [10])
    publisher = host.publisher
    assert host.stop(60) == 0
    assert dict(publisher.losses) == {REFUSED: 1}
    assert list((host.folder / "spool").iterdir()) == []

    alerts = Alerts(connection)
    alerts.wait_for(len(host.actions), 60)
    assert_exact(host.actions, alerts)
    wait_for_sum(connection, alerts, EVENTS_LOST, "events_ring_full", 5 * 10, 30)
    wait_for_sum(connection, alerts, EVENTS_LOST, BATCHES_MISSING, 0, 1)
    assert not [alert for alert in alerts.raw if alert.rule == NOT_VERIFIED]
    alerts.close()


def nested_event(depth: int) -> EventBatch:
    """Return a batch with an action of the last in a long chain of processes with 4 KB of arguments each."""
    table = ProcessTable(Proc(), EPOCH)
    rows = ProcessRows(table, NamesByRule(), Facts())
    for pid in range(100, 100 + depth):
        if pid > 100:
            table.apply(fork(identity(pid - 1, generation=2), pid))
        table.apply(execution(identity(pid, generation=2), "sleep", noise(3_000), ppid=pid - 1 if pid > 100 else 1))
    leaf = rows.row(table.resolve(identity(99 + depth, generation=2)))
    processes, _ = rows.take()
    actions = [{"type": "openat", "fd_name": f"/marked/other-{index}"} for index in range(499)]
    return batch_of(*actions, {"type": "openat", "fd_name": "/marked/leaf", "process": leaf}, processes=processes)


def test_a_thousand_nested_processes_take_no_event_of_others_along(
    connection: Connection, processes: Processes, tmp_path: Path
) -> None:
    """Its alert has the nearest ancestors, and the other actions in the batch arrive."""
    limit_messages(connection, 400_000)
    host = SigningHost(connection, "host-1", tmp_path)
    start(connection, processes, rules_file(tmp_path), "trust_on_first_use")
    batch = replace(nested_event(1024), host_id=host.name, hostname=host.name, sequence=1)
    host.publisher.publish(batch)
    publisher = host.publisher
    assert host.stop() == 0
    assert not publisher.losses
    alerts = Alerts(connection)
    alerts.wait_for(500, 60)
    assert_exact([*(f"other-{index}" for index in range(499)), "leaf"], alerts)
    leaf = next(alert.event for alert in alerts.raw if alert.event["fd.name"] == "/marked/leaf")
    assert (leaf["proc.pid"], leaf["proc.ppid"]) == (1123, 1122)
    alerts.close()
