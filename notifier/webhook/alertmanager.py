"""Alerts for Prometheus' Alertmanager, API v2.

Alertmanager identifies alerts by their labels, so only grouping fields are labels; all others are annotations. Two
events of one rule in one container are one alert there, which lasts longer.
Source: github.com/prometheus/alertmanager, api/v2/openapi.yaml.
"""

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from notifier.delivery.outcome import RoutedAlert, SendOutcome
from notifier.webhook.form import JSON, Answer, Body, by_status, fitted
from schemas.alert import Alert, Value
from schemas.catalogue.priorities import by_priority
from schemas.text.printable import printable
from schemas.text.times import iso8601_zulu

LABEL_LENGTH = 256
ANNOTATION_LENGTH = 4096
ANNOTATIONS = 64
_SEVERITY = by_priority("critical", "critical", "critical", "warning", "warning", "info", "info", "info")
"""The three severities that Alertmanager's routes commonly use; the label `priority` is exact."""
_LABELS = (
    ("container", "container.name"),
    ("container_id", "container.id"),
    ("namespace", "k8s.ns.name"),
    ("pod", "k8s.pod.name"),
)
"""Label and field of the event."""
_NOT_NAME = re.compile(r"[^a-zA-Z0-9_]")


@dataclass(frozen=True, slots=True)
class AlertmanagerFormat:
    """Up to a hundred alerts per request."""

    resolve_after_minutes: int = 60
    generator_url: str | None = None
    batch_size: int = 100
    content_type: str = JSON
    scheme: str = "Bearer"

    def body(self, alerts: Sequence[RoutedAlert], now: int) -> Body:
        """Return a JSON array of alerts."""
        pieces = [json.dumps(self._alert(each.rendered, now), separators=(",", ":")).encode() for each in alerts]
        count = fitted(pieces)
        return Body(b"[" + b",".join(pieces[:count]) + b"]", count)

    def outcome(self, answer: Answer, count: int, detail: str) -> SendOutcome:
        """Interpret the status alone: given a list with one invalid alert, it accepts the others and answers 400."""
        return by_status(answer, count, detail)

    def _alert(self, alert: Alert, now: int) -> dict[str, Any]:
        # An end in the past would resolve a late alert before anyone sees it.
        until = datetime.fromtimestamp(max(alert.time, now) // 10**9, UTC)
        until += timedelta(minutes=self.resolve_after_minutes)
        made: dict[str, Any] = {
            "labels": labels(alert),
            "annotations": annotations(alert),
            "startsAt": iso8601_zulu(alert.time),
            "endsAt": f"{until:%Y-%m-%dT%H:%M:%SZ}",
        }
        if self.generator_url is not None:
            made["generatorURL"] = self.generator_url.replace("{id}", _NOT_NAME.sub("-", alert.id))
        return made


def labels(alert: Alert) -> dict[str, str]:
    """Return the labels that identify an alert; empty ones are left out."""
    found = {
        "alertname": alert.rule,
        "severity": _SEVERITY[alert.priority],
        "priority": alert.priority.lower(),
        "instance": alert.hostname,
        "source": alert.source,
        **{name: _text(alert.event.get(field)) for name, field in _LABELS},
    }
    return {name: _cut(text, LABEL_LENGTH) for name, text in found.items() if text}


def annotations(alert: Alert) -> dict[str, str]:
    """Return all other fields, for people to read."""
    return dict(list(_annotations(alert))[:ANNOTATIONS])


def _annotations(alert: Alert) -> Iterator[tuple[str, str]]:
    yield "summary", _cut(alert.output, ANNOTATION_LENGTH)
    for name, text in (("description", alert.description), ("response", alert.response)):
        if text:
            yield name, _cut(text, ANNOTATION_LENGTH)
    yield "id", _cut(alert.id, LABEL_LENGTH)
    if alert.tags:
        yield "tags", _cut(",".join(alert.tags), ANNOTATION_LENGTH)
    if alert.repeats:
        yield "count", str(alert.repeats.count)
        yield "first_id", _cut(alert.repeats.first_id, LABEL_LENGTH)
    for field, value in alert.output_fields.items():
        if value is not None:
            # A name may hold letters, digits and underscores, and must not start with a digit.
            yield f"field_{_NOT_NAME.sub('_', field)[:100]}", _cut(_text(value), ANNOTATION_LENGTH)


def _text(value: Value) -> str:
    if value is None:
        return ""
    return ",".join(value) if isinstance(value, tuple) else str(value)


def _cut(text: str, limit: int) -> str:
    return printable(text[:limit])[:limit]
