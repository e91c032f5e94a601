"""Alerts and a console for the tests."""

import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from lanner.console.store.reading import AlertReader
from lanner.console.store.record import record_of
from lanner.console.store.view import AlertView, ViewLimits
from schemas.alert import Alert, alert_id
from schemas.catalog.fields import FIELDS

NOW = 1_795_600_000_000_000_000
"""ns since the epoch."""
HOUR = 3600 * 10**9
HOSTILE = (
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "'-alert(1)-'",
    "</title><svg onload=alert(1)>",
    "javascript:alert(1)",
    "{{ 1234567*7 }}{% raw %}",
    "a\u202etxt.exe\x1b[2J\x00b",
    "\udcff undecodable",
)
"""Texts of somebody who attacks the pages."""


def found(number: int, **facts: Any) -> Alert:
    """Make an alert that came so many minutes before NOW."""
    at = NOW - number * 60 * 10**9
    event: Mapping[str, Any] = facts.pop("event", {"user.name": "root"})
    plain: dict[str, Any] = {
        "id": alert_id(at, "test", number),
        "time": at,
        "rule": "Read sensitive file",
        "priority": "Warning",
        "output": f"A file was read | file=/etc/shadow pid={4000 + number}",
        "output_fields": {"fd.name": "/etc/shadow"},
        "tags": ("host", "T1003.008"),
        "hostname": "web-3",
        "event": event,
        "description": "Somebody read it.",
    }
    return Alert(**(plain | facts))


def hostile_alert(text: str, **facts: Any) -> Alert:
    """Make an alert with a text of an attacker wherever one can be."""
    event = {name: text for name, field in FIELDS.items() if field.type == "CHARBUF"} | {text: text}
    texts = dict.fromkeys(("rule", "output", "hostname", "description", "response"), text)
    return found(0, **texts, tags=(text,), event=event, **facts)


def filled(path: Path, alerts: Iterable[Alert], limits: ViewLimits | None = None) -> tuple[AlertView, AlertReader]:
    """Return a view of alerts, and its reader."""
    view = AlertView(path / "alerts.db", limits)
    view.add(map(record_of, alerts), NOW)
    return view, AlertReader(path / "alerts.db")


def soon(seconds: float = 10) -> Iterable[None]:
    """Yield until a deadline, with pauses."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        yield
        time.sleep(0.02)
