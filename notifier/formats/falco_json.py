"""Alerts as Falco's JSON, parsed as its `http_output` posts it, and written."""

import json
import math
import re
from dataclasses import replace
from datetime import datetime
from typing import Any

from notifier.formats.text import LineStyle, json_line
from schemas.alert import Alert, Value, alert_id, bounded
from schemas.catalog.priorities import SEVERITY
from schemas.limits import clipped

_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.ASCII)
_PREFIX = re.compile(r"(\d\d:\d\d:\d\d\.\d+|\d{4}-\d\d-\d\dT[\d:.]+(Z|[+-]\d\d:?\d\d)): [A-Z][a-z]+ ", re.ASCII)
"""Time and priority, which Falco writes before a rule's output even in JSON."""
POSTED_ID = "posted.id"
"""Field for the id chosen by the sender."""
_MAX_NAME = 1000
"""Maximum length of the name of a rule, host, tag or field, bytes."""
_MAX_ITEMS = 1000
"""Maximum number of fields, and of tags."""
_MAX_TIME = 2**63
"""Bound of an alert's time, ns since the epoch."""


def parse_falco(body: bytes) -> Alert:
    """Parse an alert from an untrusted sender.

    Its id is a hash of everything posted, so that repeats have the same id and no other alert can have it. The sender's
    own id is not used: ids of future alerts can be computed, and an alert posted under one would cause the real alert
    to be dropped as a duplicate. It is stored in the field `posted.id`.

    Raises:
        ValueError: the body is not an alert.
    """
    try:
        record = json.loads(body, parse_constant=_no_constant)
    except UnicodeDecodeError as error:
        raise ValueError(f"not UTF-8 at byte {error.start}") from None
    except json.JSONDecodeError as error:
        raise ValueError(f"not valid JSON: {error.msg} at line {error.lineno}, column {error.colno}") from None
    except RecursionError:
        raise ValueError("nested too deeply") from None
    alert = falco_alert(record)
    everything = json.dumps(record, sort_keys=True, separators=(",", ":"))
    made = replace(alert, id=alert_id(alert.time, "posted", everything))
    if alert.id == record.get("id"):
        made = replace(made, output_fields={**alert.output_fields, POSTED_ID: alert.id})
    return made


def falco_alert(record: Any) -> Alert:
    """Return the alert in decoded JSON of a trusted sender; a missing id is derived from the content.

    Raises:
        ValueError: it is not an alert.
    """
    if not isinstance(record, dict):
        raise ValueError("an alert is a JSON object")  # noqa: TRY004  input, not an argument, is wrong
    texts: dict[str, str] = {}
    for name in ("rule", "output", "priority", "hostname", "source", "time", "id", "cluster_name"):
        given = record.get(name, "")
        if not isinstance(given, str):
            raise ValueError(f"{name} must be a string")  # noqa: TRY004  as above
        texts[name] = _clean(given) if name == "output" else clipped(_clean(given), _MAX_NAME)
    if not texts["rule"] or not texts["time"]:
        raise ValueError("an alert needs rule, priority and time")
    # Older senders use `warn` and `info`.
    requested = texts["priority"].lower()
    priority = next((name for name in SEVERITY if requested and name.lower().startswith(requested)), None)
    if priority is None:
        raise ValueError(f"unknown priority {texts['priority'][:40]!r}")
    nanoseconds = _nanoseconds(texts["time"])
    fields, tags = record.get("output_fields") or {}, record.get("tags") or []
    if not isinstance(fields, dict) or not isinstance(tags, list):
        raise ValueError("output_fields must be an object and tags a list")  # noqa: TRY004  as above
    if len(fields) > _MAX_ITEMS or len(tags) > _MAX_ITEMS:
        raise ValueError(f"an alert has at most {_MAX_ITEMS} output_fields and {_MAX_ITEMS} tags")
    plain = {clipped(_clean(str(name)), _MAX_NAME): _plain(value) for name, value in fields.items()}
    own_id = alert_id(nanoseconds, texts["hostname"], texts["time"], texts["rule"], texts["output"])
    alert = Alert(
        id=texts["id"] if _UUID.fullmatch(texts["id"]) else own_id,
        time=nanoseconds,
        rule=texts["rule"],
        priority=priority,
        output=_PREFIX.sub("", texts["output"], count=1) if _PREFIX.match(texts["output"]) else texts["output"],
        output_fields=plain,
        tags=tuple(clipped(_clean(str(tag)), _MAX_NAME) for tag in tags),
        source=texts["source"] or "syscall",
        hostname=texts["hostname"],
        cluster_name=texts["cluster_name"],
        event={name: value for name, value in plain.items() if value is not None},
    )
    return bounded(alert)


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is not valid JSON")


def _clean(text: str) -> str:
    """Replace lone surrogates, which JSON can express and UTF-8 can't."""
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def _plain(value: Any) -> Value:
    if isinstance(value, str):
        return _clean(value)
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value if isinstance(value, int | float | None) else _clean(json.dumps(value))


def _nanoseconds(text: str) -> int:
    """Parse an RFC 3339 time with nanoseconds, which datetime doesn't support. Returns ns since the epoch."""
    head, dot, rest = text.partition(".")
    digits = rest[: len(rest) - len(rest.lstrip("0123456789"))] if dot else ""
    zone = rest[len(digits) :] if dot else ""
    try:
        parsed = datetime.fromisoformat(head + zone)
    except ValueError:
        raise ValueError(f"time: {text[:40]!r} is not a date and time") from None
    if parsed.tzinfo is None:
        raise ValueError(f"time: {text[:40]!r} has no time zone")
    found = int(parsed.timestamp()) * 1_000_000_000 + int(f"{digits:0<9}"[:9])
    if not 0 <= found < _MAX_TIME:
        raise ValueError(f"time: {text[:40]!r} is out of range")
    return found


_STYLE = LineStyle(json_output=True)


def document(alert: Alert) -> dict[str, Any]:
    """Return the document."""
    made = json.loads(json_line(alert, _STYLE))
    assert isinstance(made, dict)  # noqa: S101  json_line writes objects
    return made
