import json
import time
from pathlib import Path

import pytest
from confluent_kafka import Consumer

from bus.connection import Connection, client_config
from bus.following import Follower
from bus.topics import INTEREST, SIEM_ECS
from collector.publisher import Publisher
from collector.spool import Spool
from tests.cluster.acts import Host, rules_file
from tests.cluster.processes import Processes
from tests.cluster.secured import SecuredBroker

WAYS = ("certificate", "plain", "scram-sha-256", "scram-sha-512")


def connect(broker: SecuredBroker, way: str, part: str, prefix: str) -> Connection:
    """Connect as a part of a fleet, or as admin."""
    user = part if part == "admin" else f"lanner-{part}"
    if way == "certificate":
        return broker.by_certificate(user, prefix)
    return broker.by_password(user, way, prefix)  # type: ignore[arg-type]  one of WAYS


def read_as_group(connection: Connection, group: str, topic: str, count: int, seconds: float = 30) -> list[bytes]:
    """Read as a SIEM does: in a consumer group."""
    config = client_config(connection, "siem") | {"group.id": connection.topic(group), "auto.offset.reset": "earliest"}
    consumer = Consumer(config)
    consumer.subscribe([connection.topic(topic)])
    found: list[bytes] = []
    until = time.monotonic() + seconds
    while len(found) < count and time.monotonic() < until:
        message = consumer.poll(0.2)
        if message is not None and message.error() is None:
            found.append(message.value() or b"")
    consumer.close()
    return found


@pytest.mark.parametrize("way", WAYS)
def test_each_stage_works_with_its_own_rights_alone(
    secured: SecuredBroker, processes: Processes, tmp_path: Path, way: str
) -> None:
    """An act goes the whole way from a collector's publisher to the SIEM, every client with a credential of its own."""
    prefix = secured.fleet()
    processor = processes.start(connect(secured, way, "processor", prefix), "processor", rules=rules_file(tmp_path))
    state = ("-o", f"notifier.state_dir={tmp_path / 'state'}")
    notifier = processes.start(connect(secured, way, "notifier", prefix), "notifier", "siem.ecs", *state)
    tail = processes.start(connect(secured, way, "operator", prefix), "alerts", "tail", "--since", "1h")
    create = ("topics", "create", "--partitions", "2", "--replication-factor", "1", "--dry-run")
    admin = processes.start(connect(secured, way, "admin", prefix), *create)
    collector = connect(secured, way, "collector", prefix)
    interest = Follower(collector, [INTEREST])
    notes: list[str] = []
    publisher = Publisher(collector, "host-1", Spool(tmp_path / "spool", 8 << 20), on_note=notes.append)
    publisher.publish(Host("host-1").batch("secured"))
    assert publisher.close(20) == 0
    assert publisher.delivered == 1
    assert notes == []
    (document,) = read_as_group(connect(secured, way, "reader", prefix), "siem.elastic", SIEM_ECS, 1)
    assert json.loads(document)["message"].startswith("act /marked/secured on host-1")
    until = time.monotonic() + 20
    while not (interest.has_read_all and "/marked/secured" in tail.output) and time.monotonic() < until:
        interest.poll(0.2)
    assert interest.has_read_all, interest.trouble
    interest.close()
    assert "/marked/secured" in tail.output
    assert admin.result() == 0, admin.errors
    started = (processor, notifier, tail)
    secrets = [secured.password(user) for user in secured.users]
    shown = "".join(Path(f"/proc/{each.pid}/cmdline").read_text() for each in started)
    for each in started:
        assert each.stop() == 0, each.errors
    shown += "".join(each.errors + each.output for each in (*started, admin))
    assert "Traceback" not in shown
    assert not [secret for secret in secrets if secret in shown]
