import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest

from bus.clients.producers import STALLED_SECONDS
from bus.connection import Connection
from collector.publishing.publisher import Publisher
from collector.publishing.spool import Spool
from tests.cluster.actions import Alerts, Host, assert_exact, rules_file
from tests.cluster.broker import Broker
from tests.cluster.conftest import with_topics
from tests.cluster.network import Link
from tests.cluster.processes import Processes
from tests.cluster.test_notifier import lines, overrides, wait_for_lines
from tests.notes import into
from tests.ports import free_ports

STAGES = ("collector", "processor", "notifier")
CUT_SECONDS = 8.0
"""Longer than a processor's session timeout."""


@pytest.fixture
def cut_off(tmp_path: Path) -> Iterator[tuple[Broker, dict[str, Link]]]:
    """Provide a broker with a listener for each stage, advertised at a proxy."""
    inner = dict(zip(STAGES, free_ports(len(STAGES)), strict=True))
    with ExitStack() as stack:
        links = {stage: stack.enter_context(Link(port)) for stage, port in inner.items()}
        broker = Broker(tmp_path / "kafka")
        broker.add_listeners({stage: (inner[stage], links[stage].port) for stage in STAGES})
        broker.start()
        yield broker, links
        broker.remove()


class Hosts:
    """Hosts that generate actions continuously, each with its own publisher."""

    def __init__(self, connection: Connection, folder: Path, count: int) -> None:
        self.actions: list[str] = []
        self.notes: list[str] = []
        self._hosts = [Host(f"host-{number}") for number in range(count)]
        self._publishers = [
            Publisher(connection, host.name, Spool(folder / host.name, 64 << 20), on_note=into(self.notes))
            for host in self._hosts
        ]
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._act)
        self._thread.start()

    def finish(self) -> None:
        """Stop, and wait until the broker has all messages."""
        self._stop.set()
        self._thread.join()
        until = time.monotonic() + 60
        while any(publisher.has_waiting for publisher in self._publishers) and time.monotonic() < until:
            for publisher in self._publishers:
                publisher.poll(0.02)
        for publisher in self._publishers:
            assert publisher.close(5) == 0, self.notes
            assert not publisher.has_waiting
            assert not publisher.losses

    def _act(self) -> None:
        while not self._stop.wait(0.02):
            for host, publisher in zip(self._hosts, self._publishers, strict=True):
                mark = f"{host.name}-{host.sequence + 1}"
                publisher.publish(host.batch(mark))
                publisher.poll()
                self.actions.append(mark)


def cut(links: list[Link], how: Callable[[Link], None]) -> None:
    """Interrupt links for a while."""
    for link in links:
        how(link)
    time.sleep(CUT_SECONDS)
    for link in links:
        link.heal()


def test_a_network_that_is_cut_loses_and_doubles_nothing(
    cut_off: tuple[Broker, dict[str, Link]], processes: Processes, tmp_path: Path
) -> None:
    """Each stage, then all at once, loses the broker under load: each action has one id, and is delivered once.

    A second processor is not cut off, so that it takes over what the first then still believes to own.
    """
    broker, links = cut_off
    connection = with_topics(broker, 4)
    through = {stage: replace(connection, bootstrap_servers=f"127.0.0.1:{links[stage].port}") for stage in STAGES}
    rules = rules_file(tmp_path)
    first = processes.start(through["processor"], "processor", rules=rules)
    second = processes.start(connection, "processor", rules=rules)
    notifier = processes.start(through["notifier"], "notifier", "file", *overrides(tmp_path))
    for each in (first, second):
        each.wait_for("evaluating rules:")
    hosts = Hosts(through["collector"], tmp_path / "spools", 4)
    wait_for_lines(tmp_path / "alerts", 10)
    try:
        cut([links["processor"]], Link.freeze)
        cut([links["collector"], links["notifier"]], Link.sever)
        cut(list(links.values()), Link.freeze)
    finally:
        for link in links.values():
            link.heal()
        hosts.finish()
    alerts = Alerts(connection)
    alerts.wait_for(len(hosts.actions), STALLED_SECONDS + 30)
    delivered = wait_for_lines(tmp_path / "alerts", len(alerts.marks()), STALLED_SECONDS + 30)
    for each in (first, second, notifier):
        assert each.stop() == 0, each.errors
        assert "Traceback" not in each.errors
    alerts.read(1)
    repeats = assert_exact(hosts.actions, alerts)
    delivered = lines(tmp_path / "alerts")
    ids = {next(iter(ids)) for ids in alerts.marks().values()}
    assert ids <= set(delivered)
    assert len(delivered) == len(set(delivered))
    assert any("accepts no events" in note for note in hosts.notes)
    sys.stdout.write(f"{len(hosts.actions)} actions, {repeats} alerts twice on the topic, each delivered once\n")
    alerts.close()
