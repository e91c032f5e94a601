"""Fleet tests that take longer than a test run can wait."""

import os
import random
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from collector.publishing.publisher import Publisher
from collector.publishing.spool import Spool
from tests.cluster.actions import Alerts, Generator, Host, assert_exact, rules_file
from tests.cluster.broker import Broker
from tests.cluster.conftest import own_broker, processes, stoppable, with_topics
from tests.cluster.correlate_oracle import WITH_MEMORY, assert_owed
from tests.cluster.processes import Processes

__all__ = ["own_broker", "processes", "stoppable"]

pytestmark = [pytest.mark.soak, pytest.mark.timeout(7200)]

SHARE = float(os.environ.get("LANNER_SOAK_SHARE", "1"))
"""Share of the full length; with 0.05, half a minute stands for ten."""
AWAY_SECONDS = 600 * SHARE
LOAD_SECONDS = 3600 * SHARE
KILLS = max(2, round(20 * SHARE))
Record = Callable[[str, object], None]


def paced(seconds: float, step: float) -> Iterator[None]:
    """Yield at a fixed interval for some time, in seconds."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        yield
        time.sleep(step)


def memory_kib(pid: int) -> int:
    """Return the RSS of a process, KiB."""
    rows = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(row.split()[1]) for row in rows if row.startswith("VmRSS"))


def test_a_broker_that_is_away_for_long(
    own_broker: Broker, processes: Processes, tmp_path: Path, record_property: Record
) -> None:
    """Collectors store events on disk; afterwards all raise alerts, in less time than the outage."""
    connection = with_topics(own_broker, 8)
    processor = processes.start(connection, "processor", rules=rules_file(tmp_path))
    processor.wait_for("evaluating rules:")
    hosts = [Host(f"host-{number}") for number in range(4)]
    publishers = [Publisher(connection, host.name, Spool(tmp_path / host.name, 64 << 20)) for host in hosts]
    actions: list[str] = []

    def act() -> None:
        for host, publisher in zip(hosts, publishers, strict=True):
            actions.append(f"{host.name}-{host.sequence + 1}")
            publisher.publish(host.batch(actions[-1]))
            publisher.poll()

    for _ in paced(5, 0.1):
        act()
    own_broker.stop()
    for _ in paced(AWAY_SECONDS, 0.1):
        act()
    own_broker.start()
    back = time.monotonic()
    while any(publisher.has_waiting for publisher in publishers):
        assert time.monotonic() < back + AWAY_SECONDS + 120
        for publisher in publishers:
            publisher.poll(0.02)
    sent = time.monotonic() - back
    alerts = Alerts(connection)
    alerts.wait_for(len(actions), AWAY_SECONDS + 120)
    assert_exact(actions, alerts)
    for publisher in publishers:
        assert not publisher.losses
        assert publisher.close(5) == 0
    assert processor.stop() == 0, processor.errors
    for name, value in {"acts": len(actions), "seconds until sent": sent, "alerted": time.monotonic() - back}.items():
        record_property(name, value)
    alerts.close()


def test_load_for_long(own_broker: Broker, processes: Processes, tmp_path: Path, record_property: Record) -> None:
    """Each action has one alert id, windows agree with an oracle, and RSS stays constant."""
    connection = with_topics(own_broker, 8)
    rules = rules_file(tmp_path, WITH_MEMORY)
    workers = [processes.start(connection, "processor", rules=rules) for _ in range(2)]
    for each in workers:
        each.wait_for("evaluating rules:")
    generator, alerts = Generator(connection), Alerts(connection)
    held: list[int] = []
    for _ in paced(LOAD_SECONDS, 0.2):
        generator.act(1)
        alerts.read(0.1)
        held.append(sum(memory_kib(each.pid) for each in workers))
    generator.flush()
    alerts.wait_for(len(generator.actions), 120)
    for each in workers:
        assert each.stop() == 0, each.errors
    alerts.read(2)
    assert_exact(generator.actions, alerts)
    assert_owed(connection, len(generator.actions), alerts)
    # What windows of an hour hold grows with the groups; a leak would grow with the events.
    for name, value in {"acts": len(generator.actions), "KiB in the middle": held[len(held) // 2]}.items():
        record_property(name, value)
    record_property("KiB at the end", held[-1])
    assert held[-1] < 1.5 * held[len(held) // 2]
    alerts.close()


def test_kill_after_kill(own_broker: Broker, processes: Processes, tmp_path: Path, record_property: Record) -> None:
    """One of two processors is killed by SIGKILL repeatedly; each action has one id, windows agree with an oracle."""
    connection = with_topics(own_broker, 8)
    rules = rules_file(tmp_path, WITH_MEMORY)
    workers = [processes.start(connection, "processor", rules=rules) for _ in range(2)]
    for each in workers:
        each.wait_for("evaluating rules:")
    generator, alerts = Generator(connection), Alerts(connection)
    draw = random.Random(1)
    for _ in range(KILLS):
        for _ in paced(draw.uniform(3, 20), 0.2):
            generator.act(1)
            alerts.read(0.1)
        workers.pop(0).kill()
        workers.append(processes.start(connection, "processor", rules=rules))
    generator.flush()
    alerts.wait_for(len(generator.actions), 120)
    for each in workers:
        each.wait_for("evaluating rules:")
        assert each.stop() == 0, each.errors
    alerts.read(2)
    repeats = assert_exact(generator.actions, alerts) + assert_owed(connection, len(generator.actions), alerts)
    for name, value in {"kills": KILLS, "acts": len(generator.actions), "alerts twice": repeats}.items():
        record_property(name, value)
    alerts.close()
