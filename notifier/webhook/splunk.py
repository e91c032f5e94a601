"""Splunk's HTTP Event Collector (HEC): its envelope, and what its codes mean for an alert.

Source: docs.splunk.com, "Format events for HTTP Event Collector" and "Troubleshoot HTTP Event Collector".
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from notifier.delivery.http_errors import retry_seconds
from notifier.delivery.outcome import Delivered, RetryLater, RoutedAlert, SendOutcome, Undeliverable
from notifier.siem import falco
from notifier.webhook.form import JSON, Answer, Body, by_status, fitted
from schemas.alert import Alert

_ABOUT_THE_EVENT = frozenset({5, 6, 12, 13, 15})
"""No data, invalid data format, event field missing or blank, or invalid indexed fields.

All other codes concern the token, the index or the collector's state, not the alert.
"""


@dataclass(frozen=True, slots=True)
class SplunkFormat:
    """Up to a hundred events per request."""

    index: str | None = None
    source: str = "lanner"
    sourcetype: str = "_json"
    batch_size: int = 100
    content_type: str = JSON
    scheme: str = "Splunk"

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
            return by_status(answer, count, detail)
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
            "event": falco.document(alert),
        }
        return envelope if self.index is None else envelope | {"index": self.index}


def _code(body: bytes) -> int | None:
    try:
        answer = json.loads(body)
    except (ValueError, RecursionError):
        return None
    code = answer.get("code") if isinstance(answer, dict) else None
    return code if isinstance(code, int) else None
