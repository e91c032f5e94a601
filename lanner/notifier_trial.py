"""Alerts to try a sink with: a marked one, or one from a file of Falco's JSON."""

import json
import os
import time
from datetime import datetime
from pathlib import Path
from typing import Any

from lanner.failures import BadInput
from notifier.severity import SEVERITY
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


def falco_alert(record: Any) -> Alert:
    """Make an alert of Falco's JSON; its id, if it has none, is made of hostname, time, rule and output.

    Raises:
        ValueError: it is none, in words for people.
    """
    if not isinstance(record, dict):
        raise ValueError("an alert is a JSON object")  # noqa: TRY004  input, not a caller, is wrong
    texts = {name: record.get(name, "") for name in ("rule", "output", "priority", "hostname", "source", "time", "id")}
    wrong = [name for name, text in texts.items() if not isinstance(text, str)]
    if wrong:
        raise ValueError(f"{wrong[0]} must be a text")
    if not texts["rule"] or not texts["time"]:
        raise ValueError("an alert has at least rule, priority and time")
    # `warn` and `info` are what older senders say.
    given = texts["priority"].lower()
    priority = next((name for name in SEVERITY if given and name.lower().startswith(given)), None)
    if priority is None:
        raise ValueError(f"there is no priority {texts['priority']!r}")
    nanoseconds = _nanoseconds(texts["time"])
    fields, tags = record.get("output_fields") or {}, record.get("tags") or []
    if not isinstance(fields, dict) or not isinstance(tags, list):
        raise ValueError("output_fields must be an object, tags a list")  # noqa: TRY004  as above
    plain = {
        str(name): value if isinstance(value, str | int | float | bool | None) else json.dumps(value)
        for name, value in fields.items()
    }
    own_id = alert_id(nanoseconds, texts["hostname"], texts["time"], texts["rule"], texts["output"])
    return Alert(
        id=texts["id"] or own_id,
        time=nanoseconds,
        rule=texts["rule"],
        priority=priority,
        output=texts["output"],
        output_fields=plain,
        tags=tuple(str(tag) for tag in tags),
        source=texts["source"] or "syscall",
        hostname=texts["hostname"],
        event={name: value for name, value in plain.items() if value is not None},
    )


def _nanoseconds(text: str) -> int:
    """Read RFC 3339 with nanoseconds, which datetime can't hold."""
    head, dot, rest = text.partition(".")
    digits = rest[: len(rest) - len(rest.lstrip("0123456789"))] if dot else ""
    zone = rest[len(digits) :] if dot else ""
    try:
        moment = datetime.fromisoformat(head + zone)
    except ValueError:
        raise ValueError(f"time: {text!r} is no date and time") from None
    if moment.tzinfo is None:
        raise ValueError(f"time: {text!r} names no zone")
    seconds = int(moment.timestamp())
    return seconds * 1_000_000_000 + int(f"{digits:0<9}"[:9])
