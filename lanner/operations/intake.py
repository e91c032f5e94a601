"""Metrics and health of `lanner intake`: events, requests, closed connections.

Apart from those of `lanner kubernetes`, because the image of the intake doesn't have that service's libraries.
"""

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from lanner.intake.delivery import ACCEPTED, REFUSED
from lanner.operations.catalogue import CLOSED, Readings, closed_connections
from lanner.operations.health import Beat, Health, HealthCheck

if TYPE_CHECKING:
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
        return self.turned.health(self.stuck_seconds, self._ready)

    def _ready(self) -> list[HealthCheck]:
        webhook = self.intake.webhook
        answers = webhook is None or not webhook.is_failing
        return [HealthCheck("broker", answers, "stores events" if answers else "has not stored the latest events")]
