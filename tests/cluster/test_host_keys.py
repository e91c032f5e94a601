"""Host identity on a real broker with real processors: signatures, pins and operators' decisions."""

import json
import shutil
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from bus.clients.readers import TopicReader
from bus.connection import Connection
from bus.messages import CLOCK, Headers
from bus.topics import EVENTS, HOST_PINS
from processor.hosts.liveness import HOST_BACK, HOST_SILENT, HOST_STOPPED
from processor.output.internal_alerts import DUPLICATE_HOST_ID, EVENTS_LOST, REPLAYED
from schemas.host_keys import HostKey, encode_host_key
from tests.cluster.actions import Alerts, Generator, Host, assert_exact, rules_file
from tests.cluster.broker import Broker
from tests.cluster.conftest import with_topics
from tests.cluster.identities import (
    HostileHost,
    SigningHost,
    dead_letters,
    decide,
    reported,
    start,
    wait_for_dead_letters,
)
from tests.cluster.processes import Processes
from tests.unit.lanner.program import fresh as lanner


def messages_of(connection: Connection, topic: str) -> list[tuple[bytes, bytes, Headers]]:
    """Return key, value and headers of all messages of a topic."""
    reader = TopicReader(connection, connection.topic(topic), whole=True)
    found = []
    until = time.monotonic() + 20
    while not reader.has_read_all and time.monotonic() < until:
        message = reader.poll(0.2)
        if message is not None:
            headers: Headers = list(message.headers() or [])  # type: ignore[arg-type]  as they came
            found.append((message.key() or b"", message.value() or b"", headers))
    reader.close()
    return found


def settle(host: SigningHost, alerts: Alerts) -> None:
    """Generate actions of a host and wait for their alerts."""
    host.act(2)
    host.stop()
    alerts.wait_for(len(alerts.marks()) + 2, 30)
    host.start, host.sequence = host.start + 1, 0


@pytest.mark.parametrize("mode", ["trust_on_first_use", "enrolled"])
def test_a_hostile_host_with_all_a_collectors_rights_speaks_only_for_itself(
    connection: Connection, processes: Processes, tmp_path: Path, mode: str
) -> None:
    """Forged and replayed messages do not change an honest host's alerts."""
    rules = rules_file(tmp_path)
    web, evil = SigningHost(connection, "web-1", tmp_path), HostileHost(connection, tmp_path)
    if mode == "enrolled":
        assert decide(connection, processes, "enroll", web.name, web.key).result() == 0
    processors = [start(connection, processes, rules, mode) for _ in range(2)]
    alerts = Alerts(connection)
    # A message that states the offset of the host's clock has the same times whenever it is sent again.
    while not (sent := [each for each in messages_of(connection, EVENTS) if CLOCK in dict(each[2])]):
        web.act()
        web.publisher.poll(1)
    assert web.stop() == 0
    done = len(web.actions)
    alerts.wait_for(done, 30)

    twin = Host(web.name, boot="boot-9", start=9)
    evil.announce(web.name)
    evil.delete_announcement(web.identity)
    evil.send(Host(web.name, sequence=done).batch("forged-1"), web.name)
    evil.send(Host(web.name, sequence=10**6).batch("forged-2"), web.name)
    evil.send(twin.batch("forged-3"), web.name, signed_as=None)
    evil.send(replace(twin.batch("forged-4"), stopping=True), web.name)
    evil.send(replace(twin.batch("forged-5"), lost={"events_ring_full": 10**9}), "evil-1")
    evil.send(Host(web.name).batch("forged-6"), web.name, signed_as="evil-1")
    key, value, headers = sent[0]
    evil.repeat(value + b"x", key.decode(), headers)
    evil.repeat(value, key.decode(), [*headers, ("lanner_sent", b"1")])
    evil.repeat(value, "evil-1", headers)
    evil.flush()
    refused = wait_for_dead_letters(connection, 9)
    # What was sent just so by the host itself is not evaluated again, whatever unsigned headers it has.
    for number in range(200):
        evil.repeat(value, key.decode(), [*headers, ("traceparent", str(number).encode())])
    evil.flush()
    web.act(3)
    assert web.stop() == 0
    alerts.wait_for(done + 3, 30)
    alerts.read(3)

    assert_exact(web.actions, alerts)
    assert {ids.total() for ids in alerts.marks().values()} == {1}
    assert {alert.host_id for alert in alerts.raw if alert.rule == REPLAYED} == {web.name}
    assert all(reason.startswith("not verified: ") for reason in refused), refused
    assert refused.total() == dead_letters(connection).total() == 9
    internal = Counter(alert.rule for alert in alerts.raw if alert.source == "internal")
    for false in (DUPLICATE_HOST_ID, EVENTS_LOST, HOST_BACK, HOST_SILENT, HOST_STOPPED):
        assert internal[false] == 0, false
    found = reported(alerts)
    assert len(found[web.name]) <= 2, "one a processor in five minutes"
    assert "was rejected" in found[web.name][0]
    assert web.name in found[web.name][0]
    for processor in processors:
        assert processor.stop() == 0, processor.errors
    alerts.close()


def test_a_pin_outlives_all_processors_and_counts_for_each(
    connection: Connection, processes: Processes, tmp_path: Path
) -> None:
    """A processor that starts later knows the pinned key, so a forger can't use a restart."""
    rules = rules_file(tmp_path)
    web, evil = SigningHost(connection, "web-1", tmp_path), HostileHost(connection, tmp_path)
    first = start(connection, processes, rules)
    alerts = Alerts(connection)
    settle(web, alerts)
    first.kill()
    evil.send(Host(web.name).batch("forged"), web.name)
    evil.flush()
    others = [start(connection, processes, rules) for _ in range(2)]
    assert wait_for_dead_letters(connection, 1).total() == 1
    web.act(2)
    assert web.stop() == 0
    alerts.wait_for(4, 30)
    ((key, value, _),) = messages_of(connection, HOST_PINS)
    record = json.loads(value)
    assert (key, record["host_id"], record["public_key"], record["state"]) == (b"web-1", "web-1", web.key, "pinned")
    assert not [mark for mark in alerts.marks() if "forged" in mark]
    for processor in others:
        assert processor.stop() == 0, processor.errors
    alerts.close()


def test_an_operators_decision_counts_while_processors_run(
    connection: Connection, processes: Processes, tmp_path: Path
) -> None:
    """Enrolling and revoking take effect within seconds, and rejected batches can be replayed."""
    processor = start(connection, processes, rules_file(tmp_path), "enrolled")
    alerts = Alerts(connection)
    web = SigningHost(connection, "web-1", tmp_path)
    web.act(2)
    web.stop()
    wait_for_dead_letters(connection, 2)
    alerts.read(1)
    (output,) = reported(alerts)[""]
    assert web.key in output
    assert "lanner hosts enroll" in output
    listed = [
        json.loads(line) for line in decide(connection, processes, "list", "--format", "json").output.splitlines()
    ]
    assert [(each["host_id"], each["state"], each["public_key"]) for each in listed] == [
        ("web-1", "announced", web.key)
    ]

    assert decide(connection, processes, "enroll", "web-1", "--yes").output == f"web-1 {web.key}\n"
    time.sleep(2)
    replay = processes.start(connection, "dlq", "replay", "--all", "--reason", "not verified*")
    assert replay.result() == 0, replay.errors
    alerts.wait_for(2, 20)
    web.act(1)
    web.stop()
    alerts.wait_for(3, 20)

    assert decide(connection, processes, "revoke", "web-1").result() == 0
    time.sleep(2)
    web.act(2)
    web.stop()
    assert "not verified: host web-1 was revoked" in wait_for_dead_letters(connection, 4)
    assert decide(connection, processes, "enroll", "web-1", web.key).result() == 0
    time.sleep(2)
    web.act(1)
    web.stop()
    alerts.wait_for(4, 20)
    alerts.read(1)
    assert sorted(alerts.marks()) == [f"web-1-{number}" for number in (1, 2, 3, 6)]
    (row,) = (
        json.loads(line) for line in decide(connection, processes, "list", "--format", "json").output.splitlines()
    )
    assert (row["state"], row["key_id"] != "") == ("enrolled", True)
    assert processor.stop() == 0, processor.errors
    alerts.close()


def test_a_reinstalled_host_is_accepted_once_an_operator_enrolls_it(
    connection: Connection, processes: Processes, tmp_path: Path
) -> None:
    """A new key for a known id is reported, dead-lettered, and not enrolled without --replace."""
    processor = start(connection, processes, rules_file(tmp_path))
    alerts = Alerts(connection)
    web = SigningHost(connection, "web-1", tmp_path)
    settle(web, alerts)
    old = web.key
    web.reinstall()
    assert web.key != old
    web.act(1)
    web.stop()
    wait_for_dead_letters(connection, 1)
    alerts.read(1)
    (output,) = reported(alerts)["web-1"]
    assert web.key in output
    refused = decide(connection, processes, "enroll", "web-1", web.key)
    assert refused.result() == 1
    assert "--replace" in refused.errors
    assert decide(connection, processes, "enroll", "web-1", web.key, "--replace").result() == 0
    time.sleep(2)
    web.act(1)
    web.stop()
    alerts.wait_for(3, 20)
    assert sorted(alerts.marks()) == ["web-1-1", "web-1-2", "web-1-4"]
    assert processor.stop() == 0, processor.errors
    alerts.close()


def test_a_second_pin_of_a_host_is_covered_by_the_first(
    connection: Connection, processes: Processes, tmp_path: Path
) -> None:
    """Processors follow the last record of a key, since compaction retains that one."""
    processors = [start(connection, processes, rules_file(tmp_path)) for _ in range(2)]
    alerts = Alerts(connection)
    web = SigningHost(connection, "web-1", tmp_path)
    settle(web, alerts)
    evil = HostileHost(connection, tmp_path)
    later = HostKey(web.name, "pinned", evil.identity.key.public_key, time.time_ns(), "another")
    generator = Generator(connection, hosts=0)
    for value in (encode_host_key(later), b"rubbish"):
        generator.send(value, web.name, topic=HOST_PINS)
        generator.flush()
        until = time.monotonic() + 20
        while web.key.encode() not in messages_of(connection, HOST_PINS)[-1][1]:
            assert time.monotonic() < until
            time.sleep(0.3)
    evil.send(Host(web.name).batch("forged"), web.name)
    evil.flush()
    wait_for_dead_letters(connection, 1)
    settle(web, alerts)
    assert "forged" not in alerts.marks()
    for processor in processors:
        assert processor.stop() == 0, processor.errors
    alerts.close()


def test_what_waited_on_disk_is_signed_when_it_is_sent(
    own_broker: Broker, processes: Processes, tmp_path: Path
) -> None:
    """Spooled batches of an earlier start are sent after a restart, signed with the host's key."""
    connection = with_topics(own_broker, 2)
    web = SigningHost(connection, "web-1", tmp_path)
    web.act(1)
    assert web.stop() == 0
    own_broker.stop()
    web.act(5)
    time.sleep(0.5)
    web.publisher.poll()
    web.stop(1)
    assert list((web.folder / "spool").glob("*.avro"))
    web.restart()
    web.actions.append("web-1-again")
    web.publisher.publish(web.batch("web-1-again"))
    own_broker.start()
    assert decide(connection, processes, "enroll", web.name, web.key).result() == 0
    processor = start(connection, processes, rules_file(tmp_path), "enrolled")
    until = time.monotonic() + 30
    while web.publisher.has_waiting and time.monotonic() < until:
        web.publisher.poll(0.05)
    assert web.stop() == 0
    alerts = Alerts(connection)
    alerts.wait_for(len(web.actions), 30)
    assert_exact(web.actions, alerts)
    assert dead_letters(connection).total() == 0
    assert processor.stop() == 0, processor.errors
    alerts.close()


def test_collectors_that_do_not_sign_yet_are_heard_until_they_do(
    connection: Connection, processes: Processes, tmp_path: Path
) -> None:
    """Unsigned batches of old collectors are accepted until the host has signed once."""
    processor = start(connection, processes, rules_file(tmp_path))
    alerts = Alerts(connection)
    generator = Generator(connection, hosts=1)
    (old,) = generator.hosts
    generator.act(2)
    generator.flush()
    alerts.wait_for(2, 30)
    upgraded = SigningHost(connection, old.name, tmp_path)
    upgraded.start = 2
    upgraded.publisher.publish(upgraded.batch("signed"))
    assert upgraded.stop() == 0
    alerts.wait_for(3, 30)
    generator.publish(old.batch("late"))
    generator.flush()
    (reason,) = wait_for_dead_letters(connection, 1)
    assert reason.startswith("not verified: it is not signed, and host host-0 has the key")
    assert "late" not in alerts.marks()
    assert processor.stop() == 0, processor.errors
    alerts.close()


def test_pinned_hosts_are_enrolled_together(connection: Connection, processes: Processes, tmp_path: Path) -> None:
    """A fleet can move from trust on first use to enrollment; a forgotten host is new again."""
    first = start(connection, processes, rules_file(tmp_path))
    alerts = Alerts(connection)
    hosts = [SigningHost(connection, f"web-{number}", tmp_path) for number in range(3)]
    for host in hosts:
        settle(host, alerts)
    assert first.stop() == 0
    done = decide(connection, processes, "enroll", "--pinned", "--yes")
    assert sorted(done.output.splitlines()) == [f"{host.name} {host.key}" for host in hosts]
    second = start(connection, processes, rules_file(tmp_path), "enrolled")
    for host in hosts:
        settle(host, alerts)
    assert dead_letters(connection).total() == 0
    assert decide(connection, processes, "forget", "web-0", "web-1").result() == 0
    rows = [json.loads(line) for line in decide(connection, processes, "list", "--format", "json").output.splitlines()]
    assert {each["host_id"]: each["state"] for each in rows} == {
        "web-0": "announced",
        "web-1": "announced",
        "web-2": "enrolled",
    }
    assert second.stop() == 0
    alerts.close()


def test_with_identity_off_nothing_is_looked_at(connection: Connection, processes: Processes, tmp_path: Path) -> None:
    """With checks off, anyone who may send events can use any host id."""
    processor = start(connection, processes, rules_file(tmp_path), "off")
    alerts = Alerts(connection)
    evil = HostileHost(connection, tmp_path)
    evil.send(Host("web-1").batch("forged"), "web-1")
    evil.flush()
    alerts.wait_for(1, 30)
    assert messages_of(connection, HOST_PINS) == []
    assert processor.stop() == 0, processor.errors
    alerts.close()


def test_a_host_shows_its_key_before_its_collector_first_starts(tmp_path: Path) -> None:
    """Repeating the command prints the same key; the file is private, and no stream shows the private key."""
    environment = {"LANNER__KAFKA__SPOOL_DIR": str(tmp_path / "spool"), "LANNER__HOST__ID": "web-1"}
    first, second = (
        lanner("collector", "key", environment=environment),
        lanner("collector", "key", environment=environment),
    )
    assert first.returncode == 0, first.stderr
    assert first.stdout == second.stdout
    host_id, key = first.stdout.split()
    assert (host_id, len(key)) == ("web-1", 64)
    path = tmp_path / "spool" / "host.key"
    assert path.stat().st_mode & 0o777 == 0o600
    secret = path.read_text().splitlines()[1]
    assert secret not in first.stdout + first.stderr
    shutil.copy(path, tmp_path / "copy")
    path.chmod(0o644)
    refused = lanner("collector", "key", environment=environment)
    assert refused.returncode == 1
    assert "chmod 600" in refused.stderr
