"""What a notifier shows: each sink's alerts, how long they took, and what waits."""

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Protocol

from lanner.operations.catalogue import Readings, Sizes, Value
from lanner.operations.endpoint import Beat
from lanner.operations.health import Health, HealthCheck, turning
from notifier.delivery.stats import BUCKETS, SinkStats
from notifier.delivery.worker import Worker
from notifier.intake.server import IntakeStats
from notifier.queue.outbox import Outbox


class QueueReadings(Protocol):
    """A sink's line in Kafka, as far as it is looked at here."""

    assigned: bool
    is_connected: bool
    lag: dict[tuple[str, int], int]


@dataclass(frozen=True, slots=True)
class SinkView:
    """One sink that runs."""

    worker: Worker
    outbox: Outbox | None = None
    line: QueueReadings | None = None


def sink_readings(sinks: Iterable[SinkView], now: float) -> Readings:
    """Give the metrics of sinks. now: wall clock, seconds."""
    alerts: dict[tuple[str, ...], Value] = {}
    taken: dict[tuple[str, ...], Value] = {}
    faults: dict[tuple[str, ...], Value] = {}
    waiting: dict[tuple[str, ...], Value] = {}
    oldest: dict[tuple[str, ...], Value] = {}
    for sink in sinks:
        name, tally = sink.worker.name, sink.worker.tally
        alerts |= outcomes(name, tally, 0 if sink.outbox is None else sink.outbox.overflowed)
        taken[name,] = latency(tally)
        faults[name,] = tally.condition_faults
        waiting[name,] = sink.worker.line.backlog()
        oldest[name,] = age(sink.worker, now)
    return {
        "lanner_sink_alerts_total": alerts,
        "lanner_sink_latency_seconds": taken,
        "lanner_sink_condition_faults_total": faults,
        "lanner_undelivered_alerts": waiting,
        "lanner_oldest_undelivered_seconds": oldest,
    }


def outcomes(name: str, tally: SinkStats, overflowed: int = 0) -> dict[tuple[str, ...], Value]:
    """Give what became of a sink's alerts. overflowed: that its full outbox had to drop."""
    return {
        (name, "delivered"): tally.sent,
        (name, "retried"): tally.retried,
        (name, "dead_lettered"): tally.dead_lettered,
        (name, "duplicate"): tally.duplicates,
        (name, "suppressed"): tally.suppressed,
        (name, "muted"): tally.muted,
        (name, "lost"): tally.lost + overflowed,
    }


def latency(tally: SinkStats) -> Sizes:
    """Give how long deliveries took."""
    return Sizes(BUCKETS, tuple(tally.buckets), tally.seconds)


def age(worker: Worker, now: float) -> float:
    """Give for how many seconds the oldest alert has waited; 0 where none does."""
    oldest = worker.line.oldest()
    return 0.0 if oldest is None else max(0.0, now - oldest)


def fresh(worker: Worker, limit: float) -> HealthCheck:
    """Judge how long a sink's oldest alert has waited. limit: seconds."""
    waited = age(worker, time.time())
    name = f"undelivered alerts of {worker.name}"
    told = f"the oldest has waited {waited:.0f} s"
    if waited <= limit:
        return HealthCheck(name, is_good=True, told=told)
    why = worker.trouble or "the sink is too slow"
    return HealthCheck(name, is_good=False, told=f"{told}, more than http.oldest_undelivered_seconds: {why}")


@dataclass(frozen=True, slots=True)
class NotifierView:
    """Looks into a notifier that runs."""

    sinks: tuple[SinkView, ...]
    stuck_seconds: float
    oldest_seconds: float
    intake: Callable[[], IntakeStats | None] = lambda: None
    turned: Beat = field(default_factory=Beat)

    def readings(self) -> Readings:
        """Give the metrics."""
        readings = dict(sink_readings(self.sinks, time.time()))
        lag: dict[tuple[str, ...], int] = {}
        for sink in self.sinks:
            if sink.line is not None:
                for (topic, partition), number in sink.line.lag.items():
                    # Several sinks are several groups on one topic: the slowest is what matters.
                    key = (topic, str(partition))
                    lag[key] = max(number, lag.get(key, 0))
        readings["lanner_consumer_lag"] = dict(lag)
        if (tally := self.intake()) is not None:
            readings["lanner_intake_alerts_total"] = {
                ("taken",): tally.taken,
                ("refused",): tally.refused,
                ("failed",): tally.failed,
            }
        return readings

    def health(self) -> Health:
        """Give the checks."""
        return Health(alive=self._alive, well=self._well, ready=self._ready)

    def _alive(self) -> list[HealthCheck]:
        now = time.monotonic()
        loops = [
            ("loop", self.turned.at),
            *((f"sink {each.worker.name}", each.worker.turned_at) for each in self.sinks),
        ]
        return [turning(name, at, now, self.stuck_seconds) for name, at in loops]

    def _well(self) -> list[HealthCheck]:
        return [fresh(each.worker, self.oldest_seconds) for each in self.sinks]

    def _ready(self) -> list[HealthCheck]:
        found = []
        for each in self.sinks:
            if each.line is None:
                found.append(HealthCheck(f"outbox of {each.worker.name}", is_good=True, told="on this host's disk"))
                continue
            is_good = each.line.assigned and each.line.is_connected
            told = "reached, partitions assigned"
            if not each.line.is_connected:
                told = "not reached, or not yet: check kafka.bootstrap_servers"
            elif not each.line.assigned:
                told = "no partitions assigned yet"
            found.append(HealthCheck(f"broker, for {each.worker.name}", is_good, told))
        return found
