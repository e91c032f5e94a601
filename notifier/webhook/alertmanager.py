"""Alerts for Prometheus' Alertmanager, API v2.

Alertmanager tells alerts apart by their labels: so only what groups them is a label, and all else an annotation. Two
events of one rule at one place are one alert there, which lasts longer.
Source: github.com/prometheus/alertmanager, api/v2/openapi.yaml.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from typing import Any

from notifier.delivery.outcome import RoutedAlert, SendOutcome
from notifier.webhook.answer import Answer
from notifier.webhook.form import JSON, Body, by_status, fitted
from schemas.alert import Alert, Value
from schemas.text.printable import printable
from schemas.text.times import iso8601_zulu

LABEL_LENGTH = 256
ANNOTATION_LENGTH = 4096
ANNOTATIONS = 64
_SEVERITY: Mapping[str, str] = MappingProxyType({
    "Emergency": "critical",
    "Alert": "critical",
    "Critical": "critical",
    "Error": "warning",
    "Warning": "warning",
    "Notice": "info",
    "Informational": "info",
    "Debug": "info",
})  # fmt: skip
"""The three that Alertmanager's routes are usually written for; `priority` says it exactly."""
_PLACES = (
    ("container", "container.name"),
    ("container_id", "container.id"),
    ("namespace", "k8s.ns.name"),
    ("pod", "k8s.pod.name"),
)
"""Label, field of the event."""
_NO_NAME = re.compile(r"[^a-zA-Z0-9_]")


@dataclass(frozen=True, slots=True)
class AlertmanagerFormat:
    """Up to a hundred alerts a request."""

    resolve_after_minutes: int = 60
    generator_url: str | None = None
    most: int = 100
    content_type: str = JSON
    scheme: str = "Bearer"

    def body(self, parcels: Sequence[RoutedAlert], now: int) -> Body:
        """Make a list of alerts."""
        pieces = [json.dumps(self._alert(parcel.told, now), separators=(",", ":")).encode() for parcel in parcels]
        count = fitted(pieces)
        return Body(b"[" + b",".join(pieces[:count]) + b"]", count)

    def meaning(self, answer: Answer, count: int, said: str) -> SendOutcome:
        """Go by the status alone: of a list with a wrong alert it takes the others, and answers 400."""
        return by_status(answer, count, said)

    def _alert(self, alert: Alert, now: int) -> dict[str, Any]:
        # An end in the past would resolve an alert that was delivered late before anybody saw it.
        until = datetime.fromtimestamp(max(alert.time, now) // 10**9, UTC)
        until += timedelta(minutes=self.resolve_after_minutes)
        made: dict[str, Any] = {
            "labels": labels(alert),
            "annotations": annotations(alert),
            "startsAt": iso8601_zulu(alert.time),
            "endsAt": f"{until:%Y-%m-%dT%H:%M:%SZ}",
        }
        if self.generator_url is not None:
            made["generatorURL"] = self.generator_url.replace("{id}", _NO_NAME.sub("-", alert.id))
        return made


def labels(alert: Alert) -> dict[str, str]:
    """Give what tells an alert from others; a label without a value is none."""
    found = {
        "alertname": alert.rule,
        "severity": _SEVERITY[alert.priority],
        "priority": alert.priority.lower(),
        "instance": alert.hostname,
        "source": alert.source,
        **{name: _text(alert.event.get(field)) for name, field in _PLACES},
    }
    return {name: _cut(text, LABEL_LENGTH) for name, text in found.items() if text}


def annotations(alert: Alert) -> dict[str, str]:
    """Give all else that is to be read."""
    return dict(list(_annotations(alert))[:ANNOTATIONS])


def _annotations(alert: Alert) -> Iterator[tuple[str, str]]:
    yield "summary", _cut(alert.output, ANNOTATION_LENGTH)
    yield "id", _cut(alert.id, LABEL_LENGTH)
    if alert.tags:
        yield "tags", _cut(",".join(alert.tags), ANNOTATION_LENGTH)
    if alert.repeats:
        yield "count", str(alert.repeats.count)
        yield "first_id", _cut(alert.repeats.first_id, LABEL_LENGTH)
    for field, value in alert.output_fields.items():
        if value is not None:
            # A name may hold letters, digits and underscores; a leading digit would be refused too.
            yield f"field_{_NO_NAME.sub('_', field)[:100]}", _cut(_text(value), ANNOTATION_LENGTH)


def _text(value: Value) -> str:
    if value is None:
        return ""
    return ",".join(value) if isinstance(value, tuple) else str(value)


def _cut(text: str, most: int) -> str:
    return printable(text[:most])[:most]
