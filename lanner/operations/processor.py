"""Metrics and health of a processor: events, alerts by rule, cost of rules, correlation, lag."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from lanner.operations.catalogue import Readings, Value
from lanner.operations.collector import REASONS, SPOOL_REASONS
from lanner.operations.detection import PASSED_OVER, indicator_readings, repeated, rule_readings, session_readings
from lanner.operations.health import Beat, Health, HealthCheck
from processor.correlation.stage import EVICTED
from processor.fleet.message_stage import BATCHES_MISSING
from processor.fleet.producer import ResultProducer
from processor.hosts.arrival import OUTCOMES as POD_OUTCOMES
from processor.hosts.arrival import PodRecords
from processor.hosts.identity import OUTCOMES
from processor.matching.packing import LEVELS
from processor.output.internal_alerts import MEMORY_LOST

if TYPE_CHECKING:
    from processor.fleet.worker import FleetProcessor

STAGE = "processor"
ANSWER_SECONDS = 20.0
"""A processor reports its rules every five seconds, so a broker that confirmed nothing for longer is unavailable."""
LOSS_REASONS = (*REASONS, *SPOOL_REASONS, BATCHES_MISSING, MEMORY_LOST, "other")


def pod_readings(pods: PodRecords) -> dict[str, dict[tuple[str, ...], Value]]:
    """Return the metrics of the records of pods."""
    return {
        "lanner_pods_known": {(): len(pods)},
        "lanner_pods_refused_total": {("no_room",): pods.dropped, ("invalid",): pods.refused},
        "lanner_pod_lookups_total": {(outcome,): pods.lookups.get(outcome, 0) for outcome in POD_OUTCOMES},
    }


@dataclass(slots=True)
class ProcessorView:
    """Reads a running processor."""

    processor: "FleetProcessor"
    stuck_seconds: float
    turned: Beat = field(default_factory=Beat)
    shipping: ResultProducer | None = None
    app: Any = None
    _is_assigned: bool = False
    _turning: "asyncio.Task[None] | None" = None

    def start(self, app: Any, shipping: ResultProducer, beat: Callable[[], None] = lambda: None) -> None:
        """Take what exists only once the loop runs; beat is called at each of its iterations."""
        self.app, self.shipping = app, shipping
        self._turning = asyncio.create_task(self._turn(beat))

    def mark_assigned(self) -> None:
        """Record that partitions are assigned, so that this processor is ready."""
        self._is_assigned = True

    async def _turn(self, beat: Callable[[], None]) -> None:
        while True:
            self.turned.beat()
            beat()
            await asyncio.sleep(1)

    def readings(self) -> Readings:
        """Return the metrics."""
        processor, stages = self.processor, self.processor.stages
        detect, correlate, json = stages.detect, stages.correlate, stages.json
        ruleset, counts = processor.rules.in_use.ruleset, correlate.counts
        lost = dict.fromkeys(LOSS_REASONS, 0) | dict(detect.evaluation.lost) | {MEMORY_LOST: correlate.lost}
        left_out = detect.packer.left_out + json.packer.left_out
        readings = rule_readings(ruleset, processor.rules.timing) | {
            "lanner_rules_info": {(processor.rules.in_use.version,): 1.0},
            "lanner_events_total": {(STAGE,): detect.evaluation.events},
            "lanner_json_events_total": {("evaluated",): json.events, ("refused",): json.refused},
            "lanner_json_events_truncated_total": {(): json.truncated},
            "lanner_lost_events_total": {(STAGE, reason): number for reason, number in lost.items()},
            "lanner_events_redated_total": {(): detect.redated},
            "lanner_repeated_alerts_total": repeated(ruleset, detect.evaluation.repeats.counted, correlate.suppressed),
            "lanner_hosts_dropped_total": {(): detect.hosts_dropped},
            "lanner_batches_replayed_total": {(): detect.replayed},
            "lanner_correlation_groups": {(): correlate.groups},
            "lanner_first_seen_values": {(): correlate.known_values},
            "lanner_correlation_evicted_total": {(): counts.get(EVICTED, 0)},
            "lanner_correlation_left_out_total": {(level,): left_out[level] for level in LEVELS},
            "lanner_correlation_passed_over_total": {(reason,): counts.get(reason, 0) for reason in PASSED_OVER},
        }
        readings |= indicator_readings(processor.rules.in_use.rules.indicators, time.time())
        readings |= pod_readings(detect.pods) | session_readings(detect.sessions)
        if self.shipping is not None:
            alerts: dict[tuple[str, ...], Value] = {each[:2]: 0 for each in ruleset.active}
            readings["lanner_alerts_total"] = alerts | dict(self.shipping.by_rule)
            readings["lanner_host_alerts_total"] = {(host,): number for host, number in self.shipping.by_host.items()}
            readings["lanner_alert_latency_seconds"] = {(): self.shipping.latency}
            readings["lanner_dead_letters_total"] = {(STAGE,): self.shipping.dead_letters}
        if processor.host_keys is not None:
            gate = processor.host_keys.gate
            outcomes = dict.fromkeys(OUTCOMES, 0) | dict(gate.outcomes)
            readings["lanner_batches_total"] = {(outcome,): number for outcome, number in outcomes.items()}
            readings["lanner_known_hosts"] = {(state,): number for state, number in gate.known.counts().items()}
        ages = [(each.topic, str(each.partition), each.age) for each in processor.lateness.lags]
        readings["lanner_oldest_unevaluated_seconds"] = {(topic, number): age for topic, number, age in ages}
        readings["lanner_consumer_lag"] = {(at.topic, str(at.partition)): lag for at, lag in self._lag().items()}
        return readings

    def health(self) -> Health:
        """Return the checks."""
        return self.turned.health(self.stuck_seconds, self._ready)

    def _lag(self) -> dict[Any, int]:
        if self.app is None or not self._is_assigned:
            return {}
        found: dict[Any, int] = self.app.consumer.lag()
        return found

    def _ready(self) -> list[HealthCheck]:
        silent = ANSWER_SECONDS + 1 if self.shipping is None else time.monotonic() - self.shipping.answered_at
        answers = silent <= ANSWER_SECONDS
        detail = "confirms messages" if answers else "has confirmed nothing for a while: is it reachable?"
        assigned = "assigned" if self._is_assigned else "not assigned yet"
        late = [
            HealthCheck("lag", is_good=True, detail=reason, is_degraded=True)
            for reason in self.processor.lateness.reasons
        ]
        return [HealthCheck("broker", answers, detail), HealthCheck("partitions", self._is_assigned, assigned), *late]
