"""Metrics and health of a notifier: alerts by sink and outcome, latency, and what waits."""

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Protocol

from foundation.sqlite import as_os_errors
from lanner.operations.catalogue import CLOSED, Readings, Value, closed_connections
from lanner.operations.freshness import Freshness, PipelineQueue
from lanner.operations.health import Beat, Health, HealthCheck, degraded, problem_readings, turning
from notifier.outbox import Outbox
from notifier.outputs import AlertDelivery, DirectDelivery, OutboxDelivery
from notifier.sink import IntakeStats, SinkStats
from notifier.worker import Worker


class KafkaQueueState(Protocol):
    """State of a sink's queue in Kafka."""

    assigned: bool
    lag: dict[tuple[str, int], int]

    @property
    def is_connected(self) -> bool:
        """True if a broker was connected some seconds ago."""


@dataclass(frozen=True, slots=True)
class SinkView:
    """A sink's worker and its queue: an outbox, or Kafka."""

    worker: Worker
    outbox: Outbox | None = None
    kafka: KafkaQueueState | None = None


def sink_readings(sinks: Iterable[SinkView], now: float) -> Readings:
    """Return the metrics of sinks. now: wall clock, seconds."""
    alerts: dict[tuple[str, ...], Value] = {}
    taken: dict[tuple[str, ...], Value] = {}
    faults: dict[tuple[str, ...], Value] = {}
    waiting: dict[tuple[str, ...], Value] = {}
    oldest: dict[tuple[str, ...], Value] = {}
    for sink in sinks:
        name, stats = sink.worker.name, sink.worker.stats
        alerts |= outcomes(name, stats, 0 if sink.outbox is None else sink.outbox.overflowed)
        taken[name,] = stats.latency
        faults[name,] = stats.condition_faults
        waiting[name,] = sink.worker.queue.backlog()
        oldest[name,] = age(sink.worker, now)
    return {
        "lanner_sink_alerts_total": alerts,
        "lanner_sink_latency_seconds": taken,
        "lanner_sink_condition_faults_total": faults,
        "lanner_undelivered_alerts": waiting,
        "lanner_oldest_undelivered_seconds": oldest,
    }


def sink_queue(sink: AlertDelivery | Worker) -> PipelineQueue:
    """Return what waits for a sink of this process."""
    if isinstance(sink, DirectDelivery):
        return PipelineQueue("sink", sink.name, "this process", 0, None, failure=sink.failure)
    queue = sink.outbox if isinstance(sink, OutboxDelivery) else sink.queue
    failure, oldest = sink.failure, None
    try:
        with as_os_errors():
            oldest = queue.oldest()
    except OSError as error:
        failure = failure or f"its queue can't be read ({error})"
    return PipelineQueue("sink", sink.name, "its queue", queue.backlog(), oldest, failure=failure)


def outcomes(name: str, stats: SinkStats, overflowed: int = 0) -> dict[tuple[str, ...], Value]:
    """Return a sink's alerts by outcome. overflowed: alerts that its full outbox dropped."""
    return {
        (name, "delivered"): stats.sent,
        (name, "retried"): stats.retried,
        (name, "dead_lettered"): stats.dead_lettered,
        (name, "duplicate"): stats.duplicates,
        (name, "not_routed"): stats.not_routed,
        (name, "muted"): stats.muted,
        (name, "lost"): stats.lost + overflowed,
    }


def age(worker: Worker, now: float) -> float:
    """Return how long the oldest alert has waited, seconds; 0 if none waits."""
    oldest = worker.queue.oldest()
    return 0.0 if oldest is None else max(0.0, now - oldest)


def fresh(worker: Worker, limit: float) -> HealthCheck:
    """Return the check of how long a sink's oldest alert has waited. limit: seconds."""
    waited = age(worker, time.time())
    name = f"undelivered alerts of {worker.name}"
    detail = f"the oldest has waited {waited:.0f} s"
    if waited <= limit:
        return HealthCheck(name, is_good=True, detail=detail)
    why = worker.failure or "the sink is too slow"
    return HealthCheck(name, is_good=False, detail=f"{detail}, more than http.oldest_undelivered_seconds: {why}")


@dataclass(frozen=True, slots=True)
class NotifierView:
    """Reads metrics and health of a running notifier."""

    sinks: tuple[SinkView, ...]
    stuck_seconds: float
    oldest_seconds: float
    intake: Callable[[], IntakeStats | None] = lambda: None
    current: Callable[[], Freshness | None] = lambda: None
    turned: Beat = field(default_factory=Beat)

    def readings(self) -> Readings:
        """Return the metrics."""
        readings = dict(sink_readings(self.sinks, time.time()))
        lag: dict[tuple[str, ...], int] = {}
        for sink in self.sinks:
            if sink.kafka is not None:
                for (topic, partition), number in sink.kafka.lag.items():
                    # Each sink has its own group on one topic: report the slowest.
                    key = (topic, str(partition))
                    lag[key] = max(number, lag.get(key, 0))
        readings["lanner_consumer_lag"] = dict(lag)
        readings["lanner_problems"] = problem_readings(self.current())
        if (intake := self.intake()) is not None:
            readings["lanner_intake_alerts_total"] = {
                ("taken",): intake.taken,
                ("refused",): intake.refused,
                ("failed",): intake.failed,
            }
            readings[CLOSED] = closed_connections("intake", intake.closed)
        return readings

    def health(self) -> Health:
        """Return the health checks."""
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
            if each.kafka is None:
                found.append(HealthCheck(f"outbox of {each.worker.name}", is_good=True, detail="on this host's disk"))
                continue
            is_good = each.kafka.assigned and each.kafka.is_connected
            detail = "connected, partitions assigned"
            if not each.kafka.is_connected:
                detail = "not connected (yet): check kafka.bootstrap_servers"
            elif not each.kafka.assigned:
                detail = "no partitions assigned yet"
            found.append(HealthCheck(f"broker, for {each.worker.name}", is_good, detail))
        return [*found, *degraded(self.current())]
