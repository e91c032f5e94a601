"""Metrics and health of `lanner kubernetes`: objects, watches, leadership, records."""

import time
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from collector.kubernetes.objects import RESOURCES
from collector.kubernetes.reflector import REASONS
from lanner.intake.delivery import ACCEPTED, REFUSED
from lanner.operations.catalogue import CLOSED, Readings, closed_connections
from lanner.operations.health import Health, HealthCheck, turning
from lanner.operations.server import Beat

if TYPE_CHECKING:  # each of the two services runs without the other's libraries
    from collector.kubernetes.service import KubernetesService
    from lanner.intake.webhook import AuditWebhook


class AuditIntakeState(Protocol):
    """The state of an intake of events."""

    outcomes: Counter[str]
    """Events, by whether the broker has them."""
    webhook: "AuditWebhook | None"


@dataclass(slots=True)
class AuditIntakeView:
    """Reads a running intake."""

    intake: AuditIntakeState
    stuck_seconds: float
    turned: Beat = field(default_factory=Beat)

    def readings(self) -> Readings:
        """Return the metrics."""
        outcomes, webhook = self.intake.outcomes, self.intake.webhook
        codes = {} if webhook is None else {200: 0, 429: 0} | dict(webhook.codes)
        closed = {} if webhook is None else closed_connections("audit-webhook", webhook.closed)
        return {
            "lanner_json_events_total": {(outcome,): outcomes[outcome] for outcome in (ACCEPTED, REFUSED)},
            "lanner_audit_requests_total": {(str(code),): number for code, number in codes.items()},
            CLOSED: closed,
        }

    def health(self) -> Health:
        """Return the checks."""
        return Health(alive=self._alive, well=tuple, ready=self._ready)

    def _alive(self) -> list[HealthCheck]:
        return [turning("loop", self.turned.at, time.monotonic(), self.stuck_seconds)]

    def _ready(self) -> list[HealthCheck]:
        webhook = self.intake.webhook
        answers = webhook is None or not webhook.is_failing
        return [HealthCheck("broker", answers, "stores events" if answers else "has not stored the latest events")]


@dataclass(slots=True)
class KubernetesView:
    """Reads a running service."""

    service: "KubernetesService"
    stuck_seconds: float
    turned: Beat = field(default_factory=Beat)

    def readings(self) -> Readings:
        """Return the metrics."""
        service = self.service
        objects, lists, restarts = service.objects, service.lists, service.restarts
        return {
            "lanner_kubernetes_leader": {(): float(service.elector.may_write)},
            "lanner_kubernetes_objects": {(name,): objects.get(name, 0) for name in RESOURCES},
            "lanner_kubernetes_lists_total": {(name,): lists[name] for name in RESOURCES},
            "lanner_kubernetes_watch_restarts_total": {
                (name, reason): restarts[name, reason] for name in RESOURCES for reason in REASONS
            },
            "lanner_pods_written_total": {(): service.written},
            "lanner_pods_refused_total": {("invalid",): service.refused},
        }

    def health(self) -> Health:
        """Return the checks."""
        return Health(alive=self._alive, well=tuple, ready=self._ready)

    def _alive(self) -> list[HealthCheck]:
        return [turning("loop", self.turned.at, time.monotonic(), self.stuck_seconds)]

    def _ready(self) -> list[HealthCheck]:
        service = self.service
        if not service.elector.is_leader:
            return [HealthCheck("leader", True, "waits for the lease")]
        detail = "all lists are read" if service.is_complete else "lists are being read"
        return [HealthCheck("lists", service.is_complete, detail)]
