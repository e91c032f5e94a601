"""Alerts for testing a sink: a marked one, or one from a file of Falco's JSON."""

import json
import os
import time
from pathlib import Path
from typing import Any

from lanner.errors import BadInput
from notifier.formats.falco_json import falco_alert
from schemas.alert import Alert, alert_id

RULE = "Lanner test alert"


def marked_alert() -> Alert:
    """Return an alert that is clearly marked as a test; each has a unique id."""
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
    """Read one alert in the JSON of Falco and Lanner. Raises BadInput."""
    try:
        record: Any = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise BadInput(f"{path}: {error.strerror}.") from None
    except ValueError as error:
        raise BadInput(f"{path}: not valid JSON: {error}.") from None
    try:
        return falco_alert(record)
    except ValueError as error:
        raise BadInput(f"{path}: {error}.") from None
