"""Metrics and health of a collector: events and losses, publishing, the spool."""

import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from collector.agent import Collector
from collector.kernel.offsets import FEATURES
from collector.kernel_feed import KERNEL_LOSSES
from collector.publishing.spool import BROKEN, FAILED, FULL, REFUSED, Spool
from lanner.operations.catalogue import Readings, Value
from lanner.operations.health import Beat, Health, HealthCheck

if TYPE_CHECKING:
    from collector.publishing.publisher import Publisher

STAGE = "collector"
REASONS = (
    *(*KERNEL_LOSSES, "undecodable", "process_stale", "io_uring_requests", "look_ups_given_up", "dns_unreadable"),
    "tls_unreadable",
)
SPOOL_REASONS = (FULL, FAILED, BROKEN, REFUSED)


@dataclass(slots=True)
class CollectorView:
    """Reads a running collector; changes nothing."""

    collector: Collector
    publisher: "Publisher"
    spool: Spool
    spool_limit: int
    """Bytes."""
    stuck_seconds: float
    turned: Beat = field(default_factory=Beat)

    def readings(self) -> Readings:
        """Return the metrics."""
        counters, oldest = self.collector.counters(), self.spool.oldest
        lost = dict.fromkeys((*REASONS, *SPOOL_REASONS), 0) | dict(self.collector.losses)
        return {
            "lanner_events_total": {(STAGE,): self.collector.events},
            "lanner_lost_events_total": {(STAGE, reason): number for reason, number in lost.items()},
            "lanner_kernel_events_total": {
                ("sent",): counters.get("events", 0),
                ("filtered",): counters.get("filtered", 0),
                ("counted",): counters.get("repeats", 0),
            },
            "lanner_features_off": feature_readings(self.collector.off),
            "lanner_process_corrections_total": _labeled(self.collector.process_corrections),
            "lanner_container_lookups_total": _labeled(self.collector.containers.outcomes),
            "lanner_container_unknown_seconds": {(): self.collector.container_unknown_for},
            "lanner_events_without_container_total": _labeled(self.collector.intake.without_facts),
            "lanner_program_lookups_total": _labeled(self.collector.program_outcomes),
            "lanner_events_without_program_total": _labeled(self.collector.intake.without_programs),
            "lanner_batches_delivered_total": {(): self.publisher.delivered},
            "lanner_spool_bytes": {(): self.spool.size},
            "lanner_spool_limit_bytes": {(): self.spool_limit},
            "lanner_spool_oldest_seconds": {(): 0.0 if oldest is None else max(0.0, time.time() - oldest)},
        }

    def health(self) -> Health:
        """Return the checks."""
        return self.turned.health(self.stuck_seconds, self._ready)

    def _ready(self) -> list[HealthCheck]:
        collector, away = self.collector, self.publisher.is_away
        return [
            kernel_check(is_attached=collector.is_attached, off=collector.off),
            HealthCheck("broker", not away, "accepts no events: they wait on disk" if away else "accepts events"),
        ]


def kernel_check(*, is_attached: bool, off: Collection[str]) -> HealthCheck:
    """Check the eBPF program; it is degraded by features that are off under this kernel."""
    detail = "attached, and the self-test passed" if is_attached else "not attached yet"
    if off:
        detail += f"; off: {', '.join(off)}: `lanner doctor` has the reasons"
    return HealthCheck("kernel", is_attached, detail, is_degraded=bool(off))


def feature_readings(off: Collection[str]) -> dict[tuple[str, ...], Value]:
    """Return 1 for each feature that is off under this kernel, and 0 for each other one."""
    return {(feature,): int(feature in off) for feature in FEATURES}


def _labeled(counts: Mapping[str, int]) -> dict[tuple[str, ...], Value]:
    return {(label,): count for label, count in counts.items()}
