"""Alerts to try a sink with: a marked one, or one from a file of Falco's JSON."""

import json
import os
import time
from pathlib import Path
from typing import Any

from lanner.errors import BadInput
from notifier.formats.falco_json import falco_alert
from schemas.alert import Alert, alert_id

RULE = "Lanner test alert"


def marked() -> Alert:
    """Give an alert that nobody takes for a real one; each has an id of its own."""
    now = time.time_ns()
    host = os.uname().nodename
    return Alert(
        id=alert_id(now, RULE, host, os.getpid()),
        time=now,
        rule=RULE,
        priority="Notice",
        output="This is a test of Lanner's delivery; nothing happened | sent_by=lanner notifier test",
        output_fields={},
        tags=("lanner_test",),
        source="internal",
        hostname=host,
    )


def from_json(path: Path) -> Alert:
    """Read one alert as Falco and Lanner write them as JSON. Raises BadInput."""
    try:
        record: Any = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise BadInput(f"{path}: {error.strerror}.") from None
    except ValueError as error:
        raise BadInput(f"{path}: no JSON: {error}.") from None
    try:
        return falco_alert(record)
    except ValueError as error:
        raise BadInput(f"{path}: {error}.") from None
