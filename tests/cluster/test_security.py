import asyncio
import json
import ssl
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Consumer

from bus.acls import PARTS
from bus.administration import Administration
from bus.clients.compacted import CompactedTopicReader
from bus.connection import BusUnavailable, Connection, client_config
from bus.topics import PUSHDOWN_FILTERS, SIEM_ECS
from collector.publishing.publisher import Publisher
from collector.publishing.spool import Spool
from processor.fleet.detect_service import make_app
from tests.cluster.actions import Host, rules_file
from tests.cluster.processes import FRESH, Processes
from tests.cluster.secured import SecuredBroker
from tests.kcat import kcat
from tests.notes import into

METHODS = ("certificate", "plain", "scram-sha-256", "scram-sha-512")


def connect(broker: SecuredBroker, method: str, part: str, prefix: str) -> Connection:
    """Connect as a part of a fleet, or as the administrator."""
    user = part if part == "admin" else f"lanner-{part}"
    if method == "certificate":
        return broker.by_certificate(user, prefix)
    return broker.by_password(user, method, prefix)  # type: ignore[arg-type]  one of WAYS


def read_as_group(connection: Connection, group: str, topic: str, count: int, seconds: float = 30) -> list[bytes]:
    """Read in a consumer group, as a SIEM does."""
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


@pytest.mark.parametrize("method", METHODS)
def test_each_stage_works_with_its_own_rights_alone(
    secured: SecuredBroker, processes: Processes, tmp_path: Path, method: str
) -> None:
    """An action passes from a collector's publisher to the SIEM, with separate credentials for each client."""
    prefix = secured.fleet()
    processor = processes.start(
        connect(secured, method, "processor", prefix), "processor", rules=rules_file(tmp_path), program=FRESH
    )
    state = ("-o", f"notifier.state_dir={tmp_path / 'state'}")
    notifier = processes.start(
        connect(secured, method, "notifier", prefix), "notifier", "siem.ecs", *state, program=FRESH
    )
    operator = connect(secured, method, "operator", prefix)
    tail = processes.start(operator, "alerts", "tail", "--since", "1h", program=FRESH)
    create = ("topics", "create", "--partitions", "2", "--replication-factor", "1", "--dry-run")
    admin = processes.start(connect(secured, method, "admin", prefix), *create)
    collector = connect(secured, method, "collector", prefix)
    filters = CompactedTopicReader(collector, [PUSHDOWN_FILTERS])
    notes: list[str] = []
    publisher = Publisher(collector, "host-1", Spool(tmp_path / "spool", 8 << 20), on_note=into(notes))
    publisher.publish(Host("host-1").batch("secured"))
    assert publisher.close(20) == 0
    assert publisher.delivered == 1
    assert notes == []
    (document,) = read_as_group(connect(secured, method, "reader", prefix), "siem.elastic", SIEM_ECS, 1)
    assert json.loads(document)["message"].startswith("action /marked/secured on host-1")
    if not method.startswith("scram"):
        # The librdkafka of Debian's kcat can't use SCRAM with this broker.
        reader = connect(secured, method, "reader", prefix)
        read = kcat(reader, tmp_path, "-C", "-q", "-e", "-o", "beginning", "-t", reader.topic(SIEM_ECS))
        assert read.stdout == document.decode() + "\n", read.stderr
    until = time.monotonic() + 20
    while not (filters.has_read_all and "/marked/secured" in tail.output) and time.monotonic() < until:
        filters.poll(0.2)
    assert filters.has_read_all, filters.last_error
    filters.close()
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


def shut_out(secured: SecuredBroker, folder: Path) -> dict[str, tuple[Connection, str, str]]:
    """Return connections that are refused, with the error and the setting that it names."""
    secured.certify("client", "lanner-expired", days=0)
    other = SecuredBroker.authority(folder / "other", "operator")
    good = secured.by_certificate("lanner-operator")
    password = secured.by_password("lanner-operator", "scram-sha-512")
    expired = secured.by_certificate("lanner-expired")
    return {
        "wrong password": (replace(password, password="made-up-secret"), "refused the credentials", "kafka.password"),
        "unknown user": (replace(password, username="nobody"), "refused the credentials", "kafka.username"),
        "wrong password for PLAIN": (
            replace(password, password="made-up-secret", sasl_mechanism="plain"),
            "refused the credentials",
            "kafka.sasl_mechanism",
        ),
        "no certificate": (
            replace(good, certificate_file="", key_file=""),
            "refused this client's certificate",
            "kafka.certificate_file",
        ),
        "an expired certificate": (expired, "refused this client's certificate", "kafka.certificate_file"),
        "a certificate of another authority": (
            replace(good, certificate_file=str(other / "operator.crt"), key_file=str(other / "operator.key")),
            "refused this client's certificate",
            "kafka.certificate_file",
        ),
        "another authority to trust": (replace(good, ca_file=str(other / "ca.crt")), "no TLS", "kafka.ca_file"),
        "another name than the broker's": (
            replace(good, bootstrap_servers=f"127.0.0.1:{secured.port}"),
            "no TLS",
            "kafka.bootstrap_servers",
        ),
        "a key of another certificate": (
            replace(good, key_file=str(secured.etc / "admin.key")),
            "set up (Failed to create admin client: kafka.key_file failed",
            "the settings under kafka",
        ),
    }


def refusal(connection: Connection) -> BusUnavailable:
    """Return the error of a refused client."""
    with pytest.raises(BusUnavailable) as reported:
        Administration(connection).states(["x"])
    return reported.value


def test_who_is_refused_learns_why(secured: SecuredBroker, processes: Processes, tmp_path: Path) -> None:
    """Refused clients report one line with the setting and no secret; a collector continues and reports the same."""
    cases = shut_out(secured, tmp_path)
    with ThreadPoolExecutor() as pool:
        refusals = pool.map(refusal, [connection for connection, _, _ in cases.values()])
    for (name, (_, reason, setting)), reported in zip(cases.items(), refusals, strict=True):
        assert reason in reported.reason, name
        assert setting in reported.remedy, name
        assert "\n" not in str(reported)
        assert "made-up-secret" not in str(reported)
    connection, reason, setting = cases["wrong password"]
    commands: list[tuple[str | Path, ...]] = [
        ("processor", "--rules", rules_file(tmp_path)),
        ("notifier", "stdout", "-o", f"notifier.state_dir={tmp_path / 'state'}"),
        ("topics", "create", "--partitions", "2", "--replication-factor", "1"),
        ("topics", "acls", "--for", "reader"),
        ("alerts", "tail"),
        ("rules", "status"),
    ]
    for run in [processes.start(connection, *command) for command in commands]:
        assert run.result() == 3, run.errors
        assert reason in run.errors, run.errors
        assert setting in run.errors
        assert "Traceback" not in run.errors
        assert "made-up-secret" not in run.errors + run.output
    notes: list[str] = []
    publisher = Publisher(connection, "host-1", Spool(tmp_path / "spool", 8 << 20), on_note=into(notes))
    publisher.publish(Host("host-1").batch("x"))
    assert publisher.close(10) == 1
    (note,) = notes
    assert reason in note
    assert setting in note


def test_secrets_are_not_shown(secured: SecuredBroker, processes: Processes) -> None:
    """The active settings are shown without secrets from the environment."""
    connection = secured.by_password("lanner-operator", "plain")
    shown = processes.start(connection, "config", "show")
    assert shown.result() == 0
    assert "lanner-operator" in shown.output
    assert connection.password not in shown.output + shown.errors


def test_fausts_client_checks_whom_it_talks_to(secured: SecuredBroker) -> None:
    """Faust uses the TLS settings: other authorities and names are refused, the right one is accepted."""
    good = secured.by_certificate("lanner-processor")

    async def shake_hands(connection: Connection) -> None:
        credentials: Any = make_app(connection, 1).conf.broker_credentials
        host, port = connection.bootstrap_servers.split(":")
        _, writer = await asyncio.open_connection(host, int(port), ssl=credentials.context)
        writer.close()

    asyncio.run(shake_hands(good))
    for wrong in (replace(good, ca_file=""), replace(good, bootstrap_servers=f"127.0.0.1:{secured.port}")):
        with pytest.raises(ssl.SSLCertVerificationError):
            asyncio.run(shake_hands(wrong))


def test_a_right_that_is_missing_is_not_taken_for_a_missing_topic(
    secured: SecuredBroker, processes: Processes, tmp_path: Path
) -> None:
    """A stage with another part's credentials exits with the topic and the remedy."""
    prefix = secured.fleet()
    collector = secured.by_certificate("lanner-collector", prefix)
    runs = [
        processes.start(collector, "notifier", "stdout", "-o", f"notifier.state_dir={tmp_path / 'state'}"),
        processes.start(collector, "processor", rules=rules_file(tmp_path)),
        processes.start(collector, "alerts", "tail"),
        processes.start(collector, "topics", "acls", "--for", "collector"),
    ]
    for run in runs:
        assert run.result() == 3, run.errors
        assert "denies access" in run.errors
        assert "`lanner topics acls`" in run.errors
        assert "Traceback" not in run.errors
        assert len(run.errors) < 1000
    assert f"topic {prefix}alerts" in runs[0].errors
    notes: list[str] = []
    publisher = Publisher(
        secured.by_certificate("lanner-reader", prefix),
        "host-1",
        Spool(tmp_path / "spool", 8 << 20),
        on_note=into(notes),
    )
    publisher.publish(Host("host-1").batch("x"))
    assert publisher.close(10) == 1
    assert "denies access" in notes[-1]


def test_a_collector_without_rights_stores_its_events_until_it_has_them(secured: SecuredBroker, tmp_path: Path) -> None:
    """In a cluster that is being installed, collectors may start before their rights are granted."""
    prefix = secured.fleet()
    user = "late"
    secured.certify("client", user)
    connection = secured.by_certificate(user, prefix)
    publisher = Publisher(connection, "host-1", Spool(tmp_path / "spool", 1 << 20))
    host = Host("host-1")
    until = time.monotonic() + 5
    while time.monotonic() < until:
        publisher.publish(host.batch("x"))
        publisher.poll(0.2)
    assert publisher.delivered == 0
    Administration(secured.by_certificate("admin", prefix)).allow(PARTS["collector"], f"User:{user}")

    until = time.monotonic() + 30
    while publisher.has_waiting and time.monotonic() < until:
        publisher.poll(0.1)

    assert publisher.close(5) == 0
    assert publisher.delivered > 10
    assert not publisher.losses
