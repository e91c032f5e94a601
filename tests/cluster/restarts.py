"""Restart a fleet's broker repeatedly while the CPUs are busy."""

import random
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bus.connection import Connection
from collector.publishing.publisher import Publisher
from collector.publishing.spool import Spool
from tests.cluster.actions import Alerts, Host, assert_exact, rules_file
from tests.cluster.broker import Broker
from tests.cluster.conftest import with_topics
from tests.cluster.correlate_oracle import WITH_MEMORY, assert_owed, wait_for_owed
from tests.cluster.processes import Processes, Running
from tests.cluster.test_notifier import lines, overrides, wait_for_lines
from tests.notes import into

_BUSY = "import os; os.nice(5)\nwhile True: pass"


@contextmanager
def cpu_load(count: int) -> Iterator[None]:
    """Keep so many CPUs busy."""
    loops = [subprocess.Popen([sys.executable, "-c", _BUSY]) for _ in range(count)]
    try:
        yield
    finally:
        for each in loops:
            each.kill()
            each.wait()


class ActiveHosts:
    """Hosts that generate actions continuously, each with its own publisher."""

    def __init__(self, connection: Connection, folder: Path, count: int, pause: float) -> None:
        self.actions: list[str] = []
        self.notes: list[str] = []
        self._pause = pause
        self._hosts = [Host(f"host-{number}", others=3) for number in range(count)]
        self._publishers = [
            Publisher(connection, host.name, Spool(folder / host.name, 64 << 20), on_note=into(self.notes))
            for host in self._hosts
        ]
        self._end = threading.Event()
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def stop(self) -> None:
        """Stop generating actions."""
        self._end.set()
        self._thread.join()

    def finish(self) -> None:
        """Stop, and wait until the broker has all messages."""
        self.stop()
        assert self._failure is None, self._failure
        until = time.monotonic() + 90
        while any(publisher.has_waiting for publisher in self._publishers) and time.monotonic() < until:
            for publisher in self._publishers:
                publisher.poll(0.02)
        for publisher in self._publishers:
            assert publisher.close(5) == 0, self.notes
            assert not publisher.has_waiting
            assert not publisher.losses

    def _run(self) -> None:
        try:
            act_at = time.monotonic()
            while not self._end.wait(0.02):
                is_time = time.monotonic() >= act_at
                if is_time:
                    act_at = time.monotonic() + self._pause
                for host, publisher in zip(self._hosts, self._publishers, strict=True):
                    if is_time:
                        mark = f"{host.name}-{host.sequence + 1}"
                        publisher.publish(host.batch(mark))
                        self.actions.append(mark)
                    publisher.poll()
        except BaseException as failure:  # noqa: BLE001  raised where the test can see it
            self._failure = failure


@dataclass(frozen=True, slots=True)
class Account:
    """The result."""

    actions: int
    repeats: int
    """Alerts that are on the topic more than once, with one id."""
    started: int
    """Processors that were started while the broker was unavailable."""


def restart_often(
    broker: Broker, processes: Processes, folder: Path, restarts: int, *, pause: float, seed: int = 1
) -> Account:
    """Restart the broker under load, cleanly or not; assert that no process exits and no alert is lost or doubled.

    Args:
        broker: stops and starts.
        processes: starts two processors and a notifier; at every second restart one of the processors is replaced, so
            that a start, a look back and the reading of windows meet a broker that is coming back.
        folder: for files.
        restarts: how often.
        pause: seconds between two actions of a host.
        seed: of the times between restarts.
    """
    draw = random.Random(seed)
    connection = with_topics(broker, 4)
    rules = rules_file(folder, WITH_MEMORY)
    lasting = processes.start(connection, "processor", rules=rules)
    replaced = processes.start(connection, "processor", rules=rules)
    notifier = processes.start(connection, "notifier", "file", *overrides(folder))
    for each in (lasting, replaced):
        each.wait_for("evaluating rules:")
    hosts = ActiveHosts(connection, folder / "spools", 4, pause)
    started = 0
    try:
        for number in range(restarts):
            time.sleep(draw.uniform(0.5, 5))
            (broker.stop if draw.random() < 0.5 else broker.kill)()
            time.sleep(draw.uniform(0, 3))
            if number % 2:
                _end(replaced)
                replaced = processes.start(connection, "processor", rules=rules)
                started += 1
                time.sleep(draw.uniform(0, 3))
            broker.start()
            for each in (lasting, replaced, notifier):
                assert each.is_alive, f"restart {number + 1}: {each.name} ended: {each.errors[-4000:]}"
    finally:
        hosts.stop()
    hosts.finish()
    alerts = Alerts(connection)
    alerts.wait_for(len(hosts.actions), 120)
    wait_for_owed(connection, alerts, 60)
    delivered = wait_for_lines(folder / "alerts", len({alert.id for alert in alerts.raw}), 120)
    replaced.wait_for("evaluating rules:")
    for each in (lasting, replaced, notifier):
        _end(each)
    alerts.read(1)
    repeats = assert_exact(hosts.actions, alerts) + assert_owed(connection, len(hosts.actions), alerts)
    delivered = lines(folder / "alerts")
    assert {next(iter(ids)) for ids in alerts.marks().values()} <= set(delivered)
    assert len(delivered) == len(set(delivered))
    alerts.close()
    return Account(len(hosts.actions), repeats, started)


def _end(process: Running) -> None:
    assert process.is_alive, process.errors[-4000:]
    assert process.stop(45) == 0, process.errors[-4000:]
    assert "Traceback" not in process.errors, process.errors[-4000:]
