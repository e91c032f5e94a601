"""Metrics and health of `lanner intake kubernetes-audit`: events, requests."""

import time
from dataclasses import dataclass, field

from lanner.intake.delivery import ACCEPTED, REFUSED
from lanner.operations.catalogue import CLOSED, Readings, closed_connections
from lanner.operations.endpoint import Beat
from lanner.operations.health import Health, HealthCheck, turning
from lanner.wiring.audit_intake import AuditIntake


@dataclass(slots=True)
class AuditIntakeView:
    """Reads a running intake."""

    intake: AuditIntake
    stuck_seconds: float
    turned: Beat = field(default_factory=Beat)

    def readings(self) -> Readings:
        """Return the metrics."""
        outcomes, webhook = self.intake.outcomes, self.intake.webhook
        codes = {} if webhook is None else {200: 0, 429: 0} | dict(webhook.codes)
        closed = {} if webhook is None else closed_connections("audit-webhook", webhook.closed)
        return {
            "lanner_audit_events_total": {(outcome,): outcomes[outcome] for outcome in (ACCEPTED, REFUSED)},
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
