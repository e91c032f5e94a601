"""Alerts for tests, with only what matters spelled out."""

from typing import Any

from schemas.alert import Alert

TIME = 1_795_530_690_479_846_943


def alert(**facts: Any) -> Alert:
    """Make an alert."""
    plain: dict[str, Any] = {
        "id": "01a20e63-3df8-8a19-82ef-5e8e855bbfb0",
        "time": TIME,
        "rule": "A rule",
        "priority": "Warning",
        "output": "A file was read | file=/etc/shadow",
        "output_fields": {"fd.name": "/etc/shadow", "proc.pname": None},
        "tags": ("host", "container"),
        "hostname": "web-3",
    }
    return Alert(**(plain | facts))
