"""Bodies of requests: Falco's JSON, Alertmanager's API v2, and Splunk's HTTP Event Collector.

Alertmanager identifies alerts by their labels, so only grouping fields are labels; all others are annotations. Two
events of one rule in one container are one alert there, which lasts longer.
Source: github.com/prometheus/alertmanager, api/v2/openapi.yaml.
"""

import json
import re
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from foundation.errors import LannerError
from foundation.quantities import iso8601_zulu
from foundation.text import printable
from notifier.formats import cim
from notifier.formats.falco import LineStyle, json_line, value_text
from notifier.formats.phrases import remarks
from notifier.sink import Delivered, RetryLater, RoutedAlert, SendOutcome, Undeliverable
from notifier.sinks.http import retry_seconds, status_outcome
from schemas.alert import Alert
from schemas.catalog.priorities import by_priority

MOST_BYTES = 512 * 1024
"""Maximum body of a request with several alerts; a single alert may be longer."""
JSON = "application/json"


class BodyError(LannerError):
    """No body can be created for an alert; the message states the reason."""


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP answer, as far as it was read."""

    status: int
    headers: Mapping[str, str]
    """By lower-case name."""
    body: bytes
    """Its beginning."""


@dataclass(frozen=True, slots=True)
class Body:
    """The body of a request, and how many alerts it contains."""

    data: bytes
    count: int = 1


class WebhookFormat(ABC):
    """One format of requests and answers."""

    batch_size = 1
    """Maximum number of alerts in one request."""
    content_type = JSON
    """Content type of the body."""
    scheme = "Bearer"
    """Scheme of the Authorization header."""

    @abstractmethod
    def body(self, alerts: Sequence[RoutedAlert], now: int) -> Body:
        """Return a body with the first alerts; now is the wall clock, ns. Raises BodyError."""

    def outcome(self, answer: Answer, count: int, detail: str) -> SendOutcome:
        """Return what an answer means for so many alerts; by default its status decides.

        detail: the part of the answer's body that a reason may quote.
        """
        if 300 <= answer.status < 400:
            detail = "redirects are not followed; set the URL that it leads to"
        outcome = status_outcome(answer.status, answer.headers.get("retry-after"), time.time(), detail)
        if outcome is None:
            return Delivered(count)
        return replace(outcome, together=count) if isinstance(outcome, Undeliverable) else outcome


class FalcoFormat(WebhookFormat):
    """Falco's JSON with `id`, one alert per request, as Falco's http_output posts it."""

    def body(self, alerts: Sequence[RoutedAlert], now: int) -> Body:  # noqa: ARG002
        """Return the alert as JSON."""
        return Body(json_line(alerts[0].rendered, LineStyle()).encode())


def fitted(pieces: Sequence[bytes]) -> int:
    """Return how many of the pieces fit into one request: at least one."""
    size = 0
    for index, piece in enumerate(pieces):
        size += len(piece) + 1
        if size > MOST_BYTES and index:
            return index
    return len(pieces)


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
class AlertmanagerFormat(WebhookFormat):
    """Up to a hundred alerts per request; of a list with one invalid alert, it accepts the others, and answers 400."""

    batch_size = 100
    resolve_after_minutes: int = 60
    generator_url: str | None = None

    def body(self, alerts: Sequence[RoutedAlert], now: int) -> Body:
        """Return a JSON array of alerts."""
        pieces = [json.dumps(self._alert(each.rendered, now), separators=(",", ":")).encode() for each in alerts]
        count = fitted(pieces)
        return Body(b"[" + b",".join(pieces[:count]) + b"]", count)

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
        **{name: value_text(alert.event.get(field)) for name, field in _LABELS},
    }
    return {name: _cut(text, LABEL_LENGTH) for name, text in found.items() if text}


def annotations(alert: Alert) -> dict[str, str]:
    """Return all other fields, for people to read."""
    return dict(list(_annotations(alert))[:ANNOTATIONS])


def _annotations(alert: Alert) -> Iterator[tuple[str, str]]:
    yield "summary", _cut(alert.output, ANNOTATION_LENGTH)
    for name, text in (("remarks", remarks(alert)), ("description", alert.description), ("response", alert.response)):
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
            # A name may contain letters, digits and underscores, and must not start with a digit.
            yield f"field_{_NOT_NAME.sub('_', field)[:100]}", _cut(value_text(value), ANNOTATION_LENGTH)


def _cut(text: str, limit: int) -> str:
    return printable(text[:limit])[:limit]


_ABOUT_THE_EVENT = frozenset({5, 6, 12, 13, 15})
"""No data, invalid data format, event field missing or blank, or invalid indexed fields.

All other codes concern the token, the index or the collector's state, not the alert.
"""


@dataclass(frozen=True, slots=True)
class SplunkFormat(WebhookFormat):
    """Up to a hundred events per request."""

    batch_size = 100
    scheme = "Splunk"
    index: str | None = None
    source: str = "lanner"
    sourcetype: str = "_json"

    def body(self, alerts: Sequence[RoutedAlert], now: int) -> Body:  # noqa: ARG002
        """Return the events, one after the other."""
        pieces = [json.dumps(self._event(each.rendered), separators=(",", ":")).encode() for each in alerts]
        count = fitted(pieces)
        return Body(b"\n".join(pieces[:count]), count)

    def outcome(self, answer: Answer, count: int, detail: str) -> SendOutcome:
        """Interpret the code in the answer: a proxy may answer 200 to anything."""
        code = _code(answer.body)
        if code is None and answer.status == 200:
            return RetryLater("the answer is not from Splunk's HTTP Event Collector")
        if code is None:
            return WebhookFormat.outcome(self, answer, count, detail)
        if code == 0 and answer.status == 200:
            return Delivered(count)
        reason = f"HTTP {answer.status}, HEC code {code}" + (f", {detail}" if detail else "")
        if code in _ABOUT_THE_EVENT:
            return Undeliverable(reason, count)
        return RetryLater(reason, retry_seconds(answer.headers.get("retry-after"), 0.0))

    def _event(self, alert: Alert) -> dict[str, Any]:
        envelope: dict[str, Any] = {
            # Splunk stores microseconds.
            "time": f"{alert.time // 10**9}.{alert.time % 10**9 // 1000:06d}",
            "host": alert.hostname,
            "source": self.source,
            "sourcetype": self.sourcetype,
            "event": cim.document(alert),
        }
        return envelope if self.index is None else envelope | {"index": self.index}


def _code(body: bytes) -> int | None:
    try:
        answer = json.loads(body)
    except (ValueError, RecursionError):
        return None
    code = answer.get("code") if isinstance(answer, dict) else None
    return code if isinstance(code, int) else None
