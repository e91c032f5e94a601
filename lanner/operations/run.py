"""Metrics and health of `lanner run`: all stages of one host."""

import time

from lanner.operations.catalogue import Readings, Value
from lanner.operations.collector import REASONS
from lanner.operations.health import Health, HealthCheck, turning
from lanner.operations.notifier import SinkView, fresh, outcomes, sink_readings
from lanner.operations.processor import PASSED_OVER, repeated, rule_readings, session_readings
from lanner.wiring.stages.single_host import Pipeline
from notifier.delivery.outputs import DirectDelivery, OutboxDelivery
from processor.detection.json_detector import AuditDetector
from processor.detection.rule_timing import RuleTiming

STAGE = "run"
_NO_AUDIT_RULES = AuditDetector(())


class RunView:
    """Reads a running pipeline."""

    def __init__(self, pipeline: Pipeline, timing: RuleTiming) -> None:
        """Take the pipeline and what samples the cost of its rules."""
        self._pipeline = pipeline
        self._timing = timing

    def readings(self) -> Readings:
        """Return the metrics."""
        pipeline, correlator = self._pipeline, self._pipeline.correlator
        lost = dict.fromkeys(REASONS, 0) | dict(pipeline.losses())
        log = pipeline.audit_log
        audit = _NO_AUDIT_RULES if log is None else pipeline.ruleset.audit
        alerts: dict[tuple[str, ...], Value] = dict.fromkeys((*pipeline.ruleset.priorities, *audit.priorities), 0)
        readings = rule_readings(pipeline.ruleset, self._timing, audit) | {
            "lanner_events_total": {(STAGE,): pipeline.summary.events},
            "lanner_lost_events_total": {(STAGE, reason): number for reason, number in lost.items()},
            "lanner_alerts_total": alerts | dict(pipeline.summary.by_both),
            "lanner_alert_latency_seconds": {(): pipeline.latency},
            "lanner_events_redated_total": {(): pipeline.redated},
            "lanner_repeated_alerts_total": repeated(pipeline.ruleset, pipeline.repeated, correlator.suppressed),
            "lanner_correlation_groups": {(): len(correlator.store)},
            "lanner_first_seen_values": {(): len(correlator.sightings)},
            "lanner_correlation_evicted_total": {(): correlator.state.evicted},
            "lanner_correlation_passed_over_total": {(reason,): correlator.counts[reason] for reason in PASSED_OVER},
        }
        readings |= session_readings(pipeline.sessions)
        if log is not None:
            readings["lanner_audit_events_total"] = {("evaluated",): log.events, ("refused",): log.refused}
            readings["lanner_audit_events_truncated_total"] = {(): log.truncated}
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
        http, now = self._pipeline.settings.http, time.monotonic()
        loops = [("loop", self._pipeline.turned_at)]
        loops += [(f"sink {each.worker.name}", each.worker.turned_at) for each in self._outboxes()]
        return [turning(name, at, now, http.stuck_seconds) for name, at in loops]

    def _well(self) -> list[HealthCheck]:
        limit = self._pipeline.settings.http.oldest_undelivered_seconds
        return [fresh(each.worker, limit) for each in self._outboxes()]

    def _ready(self) -> list[HealthCheck]:
        attached = self._pipeline.is_started
        return [
            HealthCheck("kernel", attached, "attached, and the self-test passed" if attached else "not attached yet")
        ]
