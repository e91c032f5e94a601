"""Silent hosts, wrong clocks and restarted collectors, on a real broker."""

import re
import threading
import time
from array import array
from dataclasses import replace
from pathlib import Path
from typing import Self

from bus.connection import Connection
from bus.messages import SENT
from bus.topics import QUIET_HOSTS
from processor.hosts.arrival import CLOCK_SKEW
from processor.hosts.liveness import HOST_BACK, HOST_SILENT, HOST_STOPPED, QuietHosts, encode_quiet_hosts
from processor.hosts.sequences import QuietHost
from processor.output.internal_alerts import DUPLICATE_HOST_ID
from schemas.encoding.batch import encode_batch
from tests.cluster.actions import RULE, Alerts, Generator, Host, assert_exact, rules_file
from tests.cluster.conftest import PARTITIONS
from tests.cluster.processes import Processes, Running

SOON = ("-o", "hosts.silent_seconds=5")
HOUR = 3600


def start(connection: Connection, processes: Processes, rules: Path) -> Running:
    """Start a processor that reports hosts as silent after five seconds."""
    processor = processes.start(connection, "processor", *SOON, rules=rules)
    processor.wait_for("evaluating rules:")
    return processor


class Heartbeats:
    """Sends batches of hosts twice a second in the background."""

    def __init__(self, generator: Generator, *hosts: Host) -> None:
        self.hosts = list(hosts)
        self._generator = generator
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._beat)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _beat(self) -> None:
        while not self._stop.wait(0.5):
            for host in list(self.hosts):
                self._generator.publish(host.batch())


def ids(alerts: Alerts, rule: str) -> dict[str, set[str]]:
    """Return the ids of a rule's alerts by host."""
    found: dict[str, set[str]] = {}
    for alert in alerts.raw:
        if alert.rule == rule:
            found.setdefault(alert.hostname, set()).add(alert.id)
    return found


def wait_for_rule(alerts: Alerts, rule: str, hosts: set[str], timeout: float) -> None:
    """Read until a rule has alerted on these hosts."""
    deadline = time.monotonic() + timeout
    while not hosts <= ids(alerts, rule).keys():
        assert time.monotonic() < deadline, f"{rule}: {ids(alerts, rule)}"
        alerts.read(0.5)


def test_a_silence_outlives_the_processor_that_saw_it(
    connection: Connection, processes: Processes, tmp_path: Path
) -> None:
    """Silence and return are reported once each although the owner is killed; a clean stop is reported too."""
    rules = rules_file(tmp_path)
    generator = Generator(connection, hosts=4)
    silent, stopping, sleeping, awake = generator.hosts
    first = start(connection, processes, rules)
    alerts = Alerts(connection)
    generator.act(2)
    with Heartbeats(generator, awake) as alive:
        generator.publish(replace(stopping.batch(), stopping=True))
        generator.flush()
        alerts.wait_for(len(generator.actions), 30)
        first.kill()
        start(connection, processes, rules)
        wait_for_rule(alerts, HOST_SILENT, {silent.name, sleeping.name}, 40)
        wait_for_rule(alerts, HOST_STOPPED, {stopping.name}, 10)
        stopping.start, stopping.sequence = 2, 0
        alive.hosts += [silent, stopping]
        wait_for_rule(alerts, HOST_BACK, {silent.name, stopping.name}, 20)
        last = start(connection, processes, rules)
        alerts.read(7)
    once = {silent.name: 1, sleeping.name: 1}
    assert {name: len(found) for name, found in ids(alerts, HOST_SILENT).items()} == once
    assert {name: len(found) for name, found in ids(alerts, HOST_BACK).items()} == {silent.name: 1, stopping.name: 1}
    assert {name: len(found) for name, found in ids(alerts, HOST_STOPPED).items()} == {stopping.name: 1}
    assert_exact(generator.actions, alerts)
    assert last.stop() == 0, last.errors
    alerts.close()


def test_a_host_that_only_the_former_owner_has_heard_of_is_reported(
    connection: Connection, processes: Processes, tmp_path: Path
) -> None:
    """It is listed in the record of quiet hosts, whose messages need not be read again, or exist."""
    rules = rules_file(tmp_path)
    generator = Generator(connection, hosts=1)
    first = start(connection, processes, rules)
    alerts = Alerts(connection)
    generator.act(2)
    generator.flush()
    alerts.wait_for(len(generator.actions), 30)
    assert first.stop() == 0, first.errors
    now = time.time_ns() // 1_000_000
    gone = QuietHost("gone", "gone", "boot-1", 1, 7, now - 2_000, stopping=False)
    later = QuietHost("later", "later", "boot-1", 1, 7, now - 2_000, stopping=False)
    for position, host in ((1, gone), (1 << 40, later)):
        record = QuietHosts(position, now - 60_000, now - 1_000, (host,))
        for partition in range(PARTITIONS):
            generator.send(encode_quiet_hosts(record), "", topic=QUIET_HOSTS, partition=partition)
    generator.flush()
    second = start(connection, processes, rules)
    with Heartbeats(generator, *generator.hosts):
        wait_for_rule(alerts, HOST_SILENT, {gone.hostname}, 30)
    assert "later" not in ids(alerts, HOST_SILENT)
    assert len(ids(alerts, HOST_SILENT)["gone"]) == 1
    assert second.stop() == 0, second.errors
    alerts.close()


def test_a_host_whose_clock_is_an_hour_ahead_is_set_right(
    connection: Connection, processes: Processes, tmp_path: Path
) -> None:
    """Alerts of a host with a wrong clock have the broker's time, one alert reports it, other hosts are unaffected."""
    processor = start(connection, processes, rules_file(tmp_path))
    generator = Generator(connection, hosts=2)
    ahead, right = generator.hosts
    for _ in range(3):
        for host, seconds in ((ahead, HOUR), (right, 0)):
            mark = f"{host.name}-{host.sequence + 1}"
            batch = host.batch(mark)
            batch.created = time.time_ns() + seconds * 1_000_000_000
            batch.columns["time"] = array("q", [at + seconds * 1_000_000_000 for at in batch.columns["time"]])
            sent = str(time.time_ns() + seconds * 1_000_000_000).encode()
            generator.send(encode_batch(batch), host.name, headers=[(SENT, sent)])
            generator.actions.append(mark)
    generator.flush()
    alerts = Alerts(connection)
    alerts.wait_for(len(generator.actions), 30)
    wait_for_rule(alerts, CLOCK_SKEW, {ahead.name}, 10)
    assert_exact(generator.actions, alerts)
    for alert in alerts.raw:
        assert abs(alert.time / 1e9 - time.time()) < 120
    assert {name: len(found) for name, found in ids(alerts, CLOCK_SKEW).items()} == {ahead.name: 1}
    (reported,) = (alert for alert in alerts.raw if alert.rule == CLOCK_SKEW)
    assert re.match(r"the clock is 3(600|59\d) s ahead of the broker's", reported.output), reported.output
    assert processor.stop() == 0, processor.errors
    alerts.close()


def test_a_collector_that_begins_again_and_reuses_pids_gives_two_alerts(
    connection: Connection, processes: Processes, tmp_path: Path
) -> None:
    """The same action with the same pid and sequence gets another id after a reboot."""
    processor = start(connection, processes, rules_file(tmp_path))
    generator = Generator(connection, hosts=1)
    (host,) = generator.hosts
    before = host.batch("again")
    after = replace(before, collector_start=2, previous_start=1, previous_sequence=1)
    for batch in (before, after, after):
        generator.publish(batch)
    generator.flush()
    alerts = Alerts(connection)
    deadline = time.monotonic() + 30
    while sum(alert.rule == RULE for alert in alerts.raw) < 3 and time.monotonic() < deadline:
        alerts.read(0.5)
    assert sorted(alerts.marks()["again"].values()) == [1, 2]
    assert processor.stop() == 0, processor.errors
    alerts.close()


def test_two_that_send_under_one_id_are_reported(connection: Connection, processes: Processes, tmp_path: Path) -> None:
    """The interleaved batches of a cloned machine are all evaluated."""
    processor = start(connection, processes, rules_file(tmp_path))
    generator = Generator(connection, hosts=1)
    (first,) = generator.hosts
    clone = Host(first.name, boot="boot-2", start=2)
    for number in range(1, 4):
        for host, name in ((first, "first"), (clone, "clone")):
            generator.publish(host.batch(f"{name}-{number}"))
            generator.actions.append(f"{name}-{number}")
    generator.flush()
    alerts = Alerts(connection)
    alerts.wait_for(len(generator.actions), 30)
    wait_for_rule(alerts, DUPLICATE_HOST_ID, {first.name}, 10)
    assert_exact(generator.actions, alerts)
    (reported,) = (alert for alert in alerts.raw if alert.rule == DUPLICATE_HOST_ID)
    assert reported.output.startswith(f"two live hosts send under id {first.name}: boots boot-")
    assert processor.stop() == 0, processor.errors
    alerts.close()
