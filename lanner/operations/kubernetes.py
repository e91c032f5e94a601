"""Metrics and health of `lanner kubernetes`: objects, watches, leadership, records."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from collector.kubernetes.objects import RESOURCES
from collector.kubernetes.reflector import REASONS
from lanner.operations.catalogue import Readings
from lanner.operations.health import Beat, Health, HealthCheck

if TYPE_CHECKING:
    from collector.kubernetes.service import KubernetesService


@dataclass(slots=True)
class KubernetesView:
    """Reads a running service."""

    service: "KubernetesService"
    stuck_seconds: float
    turned: Beat = field(default_factory=Beat)

    def readings(self) -> Readings:
        """Return the metrics."""
        service = self.service
        objects, lists, restarts = service.objects, service.terms.lists(), service.terms.restarts()
        return {
            "lanner_kubernetes_leader": {(): float(service.elector.may_write)},
            "lanner_kubernetes_objects": {(name,): objects.get(name, 0) for name in RESOURCES},
            "lanner_kubernetes_lists_total": {(name,): lists[name] for name in RESOURCES},
            "lanner_kubernetes_watch_restarts_total": {
                (name, reason): restarts[name, reason] for name in RESOURCES for reason in REASONS
            },
            "lanner_pods_written_total": {(): service.written},
            "lanner_pods_refused_total": {("invalid",): service.terms.refused()},
        }

    def health(self) -> Health:
        """Return the checks."""
        return self.turned.health(self.stuck_seconds, self._ready)

    def _ready(self) -> list[HealthCheck]:
        service = self.service
        if not service.elector.is_leader:
            return [HealthCheck("leader", True, "waits for the lease")]
        detail = "all lists are read" if service.is_complete else "lists are being read"
        return [HealthCheck("lists", service.is_complete, detail)]
