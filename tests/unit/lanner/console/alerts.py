"""Alerts and a console for the tests."""

import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from lanner.console.store.reading import AlertReader
from lanner.console.store.record import record_of
from lanner.console.store.view import AlertView, ViewLimits
from schemas.alert import Alert, alert_id

NOW = 1_795_600_000_000_000_000
"""ns since the epoch."""
HOUR = 3600 * 10**9


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
