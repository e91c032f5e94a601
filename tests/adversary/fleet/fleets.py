"""Fleets on one broker that get the same from honest hosts: one in peace, the others beside a hostile host."""

import json
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from bus.connection import Connection
from schemas.alert import Alert
from tests.adversary.fleet.honest import NAMES, Collectors, Honest
from tests.adversary.fleet.hostile import DeadLetters, Hostile, Sent, mark_of
from tests.cluster.actions import Alerts
from tests.cluster.processes import Processes, Running
from tests.cluster.test_poison import resident_mib

NOT_VERIFIED = "Lanner internal: batch not verified"


@dataclass(frozen=True, slots=True)
class Shape:
    """What a fleet is made of."""

    identity: str
    processors: int = 1
    notifies: bool = False
    sums_repeats: bool = True
    """Whether alerts that repeat others are counted, as by default; the period is short, so that a test can wait."""


@dataclass
class Fleet:
    """Processors and perhaps a notifier, of one setting of `collector.identity`."""

    connection: Connection
    shape: Shape
    processors: list[Running]
    notifier: Running | None
    delivered: Path
    """Where the notifier writes alerts, as JSON."""
    collectors: Collectors
    alerts: Alerts
    dead_letters: DeadLetters
    hostile: Hostile | None = None
    before: dict[str, int] = field(default_factory=dict)
    """By process, its memory before anything came, MiB."""
    after: dict[str, int] = field(default_factory=dict)
    ended: dict[str, int] = field(default_factory=dict)
    """By process, its exit code after SIGTERM, or where it ended by itself."""

    @property
    def identity(self) -> str:
        """Its `collector.identity`."""
        return self.shape.identity

    @property
    def running(self) -> list[Running]:
        """All its processes."""
        return [*self.processors, *([self.notifier] if self.notifier else [])]

    def honest_alerts(self) -> dict[str, Alert]:
        """Return by id the alerts about honest hosts, but those that report what came under their ids."""
        return {alert.id: alert for alert in self.alerts.raw if alert.host_id in NAMES and alert.rule != NOT_VERIFIED}

    def unaccounted(self) -> list[Sent]:
        """Return the messages of the hostile host of which nothing is known: no dead letter, and alerts are missing."""
        if self.hostile is None:
            return []
        evil = [alert for alert in self.alerts.raw if alert.rule == "Evil act"]
        found = Counter(mark_of(str(alert.event.get("fd.name"))) for alert in evil if alert.repeats is None)
        summed = {alert.host_id for alert in evil if alert.repeats is not None}
        left = [sent for sent in list(self.hostile.sent) if sent.position not in self.dead_letters.reasons]
        owed: Counter[int] = Counter()
        for sent in left:
            owed[sent.mark] += sent.marks
        times = Counter(sent.number for sent in self.hostile.sent)
        unique = [sent for sent in left if not sent.is_repeat and (sent.number is None or times[sent.number] == 1)]
        return [sent for sent in unique if _is_short(sent, owed, found, summed)]

    def delivered_ids(self) -> Counter[str]:
        """Return the ids of alerts about honest hosts that the notifier wrote, and how often."""
        whole = self.delivered.read_text(encoding="utf-8").rpartition("\n")[0] if self.delivered.exists() else ""
        ids = (json.loads(line)["id"] for line in whole.splitlines())
        honest = self.honest_alerts()
        return Counter(each for each in ids if each in honest)

    def stop(self) -> None:
        """Measure and end its processes."""
        for process in self.running:
            if process.is_alive:
                self.after[process.name] = resident_mib(process)
        for process in self.running:
            self.ended[process.name] = process.stop() if process.is_alive else process.result()
        self.alerts.close()
        self.dead_letters.close()


def _is_short(sent: Sent, owed: Counter[int], found: Counter[int], summed: set[str]) -> bool:
    # What can't be decoded has to be a dead letter. If a host's repeats were counted in a summary, it is unknown which
    # message each of them came from.
    return not sent.is_batch or (found[sent.mark] < owed[sent.mark] and sent.host_id not in summed)


def start_fleets(
    connections: Sequence[Connection], shapes: Sequence[Shape], processes: Processes, rules: Path
) -> list[Fleet]:
    """Start fleets at once; all their processors have their partitions, and what they hold then is noted."""
    started = [_start(*each, processes, rules) for each in zip(connections, shapes, strict=True)]
    fleets = []
    for connection, shape, (processors, notifier) in zip(connections, shapes, started, strict=True):
        for processor in processors:
            processor.wait_for("evaluating rules:", 60)
        collectors = Collectors(connection, rules.parent / f"{connection.prefix}hosts")
        alerts, dead_letters = Alerts(connection), DeadLetters(connection)
        delivered = _delivered(rules.parent, connection)
        fleet = Fleet(connection, shape, processors, notifier, delivered, collectors, alerts, dead_letters)
        fleet.before = {process.name: resident_mib(process) for process in fleet.running}
        fleets.append(fleet)
    return fleets


def _start(
    connection: Connection, shape: Shape, processes: Processes, rules: Path
) -> tuple[list[Running], Running | None]:
    repeats = f"repeated_alerts.enabled={str(shape.sums_repeats).lower()}"
    settings: tuple[str, ...] = ("-o", f"collector.identity={shape.identity}", "-o", "rule_matching=all", "-o", repeats)
    settings += ("-o", "repeated_alerts.period_seconds=5")
    started = [processes.start(connection, "processor", *settings, rules=rules) for _ in range(shape.processors)]
    if not shape.notifies:
        return started, None
    delivered = _delivered(rules.parent, connection)
    sink = ("-o", "file_output.enabled=true", "-o", f"file_output.filename={delivered}", "-o", "json_output=true")
    state = ("-o", f"notifier.state_dir={rules.parent / f'{connection.prefix}state'}")
    return started, processes.start(connection, "notifier", "file", *sink, *state)


def _delivered(folder: Path, connection: Connection) -> Path:
    return folder / f"{connection.prefix}alerts"


def run_round(honest: Honest, fleets: Sequence[Fleet], patience: float) -> None:
    """Make every honest host act once in every fleet, and wait until all fleets have evaluated it.

    So what comes in the next round comes after it, in whatever order partitions are read.
    """
    before = len(honest.actions)
    batches = honest.next_round()
    actions = set(honest.actions[before:])
    starts = [len(fleet.alerts.raw) for fleet in fleets]
    for fleet in fleets:
        fleet.collectors.send(batches)
    for fleet, start in zip(fleets, starts, strict=True):

        def is_through(fleet: Fleet = fleet, start: int = start) -> bool:
            fleet.collectors.poll()
            fleet.alerts.read(0.1)
            found = {str(alert.event.get("fd.name")) for alert in fleet.alerts.raw[start:] if alert.host_id in NAMES}
            return actions <= found

        wait_for(is_through, patience)


def wait_for(question: Callable[[], bool], seconds: float) -> bool:
    """Wait until something holds; returns whether it did in time."""
    until = time.monotonic() + seconds
    while not question():
        if time.monotonic() > until:
            return False
    return True
