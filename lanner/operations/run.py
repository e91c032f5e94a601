"""Metrics and health of `lanner run`: all stages of one host."""

import time
from collections import Counter
from collections.abc import Callable, Collection
from typing import Protocol

from foundation.histogram import Histogram
from lanner.intake.local import LocalAuditLog
from lanner.known_state.host import StatefulEvaluator
from lanner.operations.catalogue import Readings, Value
from lanner.operations.collector import REASONS, feature_readings, kernel_check
from lanner.operations.detection import PASSED_OVER, indicator_readings, repeated, rule_readings, session_readings
from lanner.operations.freshness import Freshness
from lanner.operations.health import Health, HealthCheck, degraded, problem_readings, turning
from lanner.operations.notifier import SinkView, fresh, outcomes, sink_readings
from lanner.ruleset.compile import CompiledDetection
from notifier.outputs import AlertDelivery, DirectDelivery, OutboxDelivery
from processor.detection.rule_timing import RuleTiming
from processor.sessions.sessions import Sessions
from schemas.catalog.fields import SYSCALL

STAGE = "run"


class Counts(Protocol):
    """Counts since the start."""

    events: int
    by_both: Counter[tuple[str, str]]
    """Alerts by rule and priority."""


class RunningHost(Protocol):
    """The state of a running pipeline."""

    latency: Histogram
    turned_at: float
    """When its loop turned last; monotonic seconds."""
    is_started: bool
    sessions: Sessions
    audit_log: LocalAuditLog | None
    evaluator: StatefulEvaluator
    detection: CompiledDetection
    sinks: list[AlertDelivery]
    """Where alerts go."""
    current: Freshness | None
    """How current detection is; None before it has begun."""

    @property
    def summary(self) -> Counts:
        """Events and alerts."""

    @property
    def off(self) -> Collection[str]:
        """The features that are off under this kernel."""


class HealthLimits(Protocol):
    """From when on a pipeline is not healthy."""

    @property
    def stuck_seconds(self) -> float:
        """Since a loop turned."""

    @property
    def oldest_undelivered_seconds(self) -> float:
        """Since the oldest alert that waits was raised."""


class RunView:
    """Reads a running pipeline."""

    def __init__(self, pipeline: RunningHost, timing: RuleTiming, limits: Callable[[], HealthLimits]) -> None:
        """Take the pipeline, what samples the cost of its rules, and what returns the limits that now apply."""
        self._pipeline = pipeline
        self._timing = timing
        self._limits = limits

    def readings(self) -> Readings:
        """Return the metrics."""
        pipeline, evaluator = self._pipeline, self._pipeline.evaluator
        ruleset, correlator = pipeline.detection.ruleset, evaluator.correlator
        lost = dict.fromkeys(REASONS, 0) | dict(evaluator.lost)
        log = pipeline.audit_log
        sources = (SYSCALL,) if log is None else ()
        active = (each for each in ruleset.active if not sources or each[2] in sources)
        alerts: dict[tuple[str, ...], Value] = {each[:2]: 0 for each in active}
        readings = rule_readings(ruleset, self._timing, *sources) | {
            "lanner_events_total": {(STAGE,): pipeline.summary.events},
            "lanner_lost_events_total": {(STAGE, reason): number for reason, number in lost.items()},
            "lanner_features_off": feature_readings(pipeline.off),
            "lanner_alerts_total": alerts | dict(pipeline.summary.by_both),
            "lanner_alert_latency_seconds": {(): pipeline.latency},
            "lanner_events_redated_total": {(): evaluator.redated},
            "lanner_repeated_alerts_total": repeated(ruleset, evaluator.repeats.counted, correlator.suppressed),
            "lanner_correlation_groups": {(): len(correlator.store)},
            "lanner_first_seen_values": {(): len(correlator.sightings)},
            "lanner_correlation_evicted_total": {(): correlator.state.evicted},
            "lanner_correlation_passed_over_total": {(reason,): correlator.counts[reason] for reason in PASSED_OVER},
        }
        readings |= session_readings(pipeline.sessions)
        readings |= indicator_readings(pipeline.detection.active_rules.indicators, time.time())
        if log is not None:
            readings["lanner_json_events_total"] = {("evaluated",): log.events, ("refused",): log.refused}
            readings["lanner_json_events_truncated_total"] = {(): log.truncated}
        readings["lanner_problems"] = problem_readings(pipeline.current)
        for name, values in sink_readings(self._outboxes(), time.time()).items():
            readings[name] = dict(values)
        for sink in pipeline.sinks:
            if isinstance(sink, DirectDelivery):
                stats = sink.stats
                readings["lanner_sink_alerts_total"] |= outcomes(sink.name, stats)
                readings["lanner_sink_latency_seconds"][sink.name,] = stats.latency
                readings["lanner_sink_condition_faults_total"][sink.name,] = stats.condition_faults
        return readings

    def health(self) -> Health:
        """Return the checks."""
        return Health(alive=self._alive, well=self._well, ready=self._ready)

    def _outboxes(self) -> list[SinkView]:
        sinks = self._pipeline.sinks
        return [SinkView(each.worker, each.outbox) for each in sinks if isinstance(each, OutboxDelivery)]

    def _alive(self) -> list[HealthCheck]:
        stuck, now = self._limits().stuck_seconds, time.monotonic()
        loops = [("loop", self._pipeline.turned_at)]
        loops += [(f"sink {each.worker.name}", each.worker.turned_at) for each in self._outboxes()]
        return [turning(name, at, now, stuck) for name, at in loops]

    def _well(self) -> list[HealthCheck]:
        limit = self._limits().oldest_undelivered_seconds
        return [fresh(each.worker, limit) for each in self._outboxes()]

    def _ready(self) -> list[HealthCheck]:
        check = kernel_check(is_attached=self._pipeline.is_started, off=self._pipeline.off)
        return [check, *degraded(self._pipeline.current)]
