"""An alert of Falco's JSON: what `http_output` posts, and what Lanner itself writes."""

import json
import math
import re
from dataclasses import replace
from datetime import datetime
from typing import Any

from notifier.formats.severity import SEVERITY
from schemas.alert import Alert, Value, alert_id, bounded
from schemas.text.limits import clipped

_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.ASCII)
_PREFIX = re.compile(r"(\d\d:\d\d:\d\d\.\d+|\d{4}-\d\d-\d\dT[\d:.]+(Z|[+-]\d\d:?\d\d)): [A-Z][a-z]+ ", re.ASCII)
"""What Falco writes before a rule's own output, in JSON too."""
POSTED_ID = "posted.id"
"""The field that holds the id under which a sender knows its alert."""
_LONGEST_NAME = 1000
"""Bytes of a rule, a host, a tag or a field's name."""
_MOST = 1000
"""Fields, and tags."""
_LATEST = 2**63
"""Of a time, ns since the epoch, that an alert can hold."""


def parse_falco(body: bytes) -> Alert:
    """Read one alert that a stranger posted. Raises ValueError, in words for people.

    Its id is made of everything that was posted, so that the same alert has one id however often it comes, and another
    can't have it. An id that a sender chooses does not count: ids of alerts that are still to come can be computed, and
    whoever took one first would have the real alert dropped as a repeat. It is kept as the field `posted.id`.
    """
    try:
        record = json.loads(body, parse_constant=_no_constant)
    except UnicodeDecodeError as error:
        raise ValueError(f"not UTF-8 at byte {error.start}") from None
    except json.JSONDecodeError as error:
        raise ValueError(f"no JSON: {error.msg} at line {error.lineno}, column {error.colno}") from None
    except RecursionError:
        raise ValueError("nested too deep to be an alert") from None
    alert = falco_alert(record)
    everything = json.dumps(record, sort_keys=True, separators=(",", ":"))
    made = replace(alert, id=alert_id(alert.time, "posted", everything))
    if alert.id == record.get("id"):
        made = replace(made, output_fields={**alert.output_fields, POSTED_ID: alert.id})
    return made


def falco_alert(record: Any) -> Alert:
    """Make an alert of Falco's JSON, whose sender is trusted; an id that it lacks is made of what it says.

    Raises:
        ValueError: it is none, in words for people.
    """
    if not isinstance(record, dict):
        raise ValueError("an alert is a JSON object")  # noqa: TRY004  input, not a caller, is wrong
    texts: dict[str, str] = {}
    for name in ("rule", "output", "priority", "hostname", "source", "time", "id"):
        given = record.get(name, "")
        if not isinstance(given, str):
            raise ValueError(f"{name} must be a text")  # noqa: TRY004  as above
        texts[name] = _clean(given) if name == "output" else clipped(_clean(given), _LONGEST_NAME)
    if not texts["rule"] or not texts["time"]:
        raise ValueError("an alert has at least rule, priority and time")
    # `warn` and `info` are what older senders say.
    wanted = texts["priority"].lower()
    priority = next((name for name in SEVERITY if wanted and name.lower().startswith(wanted)), None)
    if priority is None:
        raise ValueError(f"there is no priority {texts['priority'][:40]!r}")
    nanoseconds = _nanoseconds(texts["time"])
    fields, tags = record.get("output_fields") or {}, record.get("tags") or []
    if not isinstance(fields, dict) or not isinstance(tags, list):
        raise ValueError("output_fields must be an object, tags a list")  # noqa: TRY004  as above
    if len(fields) > _MOST or len(tags) > _MOST:
        raise ValueError(f"an alert has at most {_MOST} output_fields and {_MOST} tags")
    plain = {clipped(_clean(str(name)), _LONGEST_NAME): _plain(value) for name, value in fields.items()}
    own_id = alert_id(nanoseconds, texts["hostname"], texts["time"], texts["rule"], texts["output"])
    alert = Alert(
        id=texts["id"] if _UUID.fullmatch(texts["id"]) else own_id,
        time=nanoseconds,
        rule=texts["rule"],
        priority=priority,
        output=_PREFIX.sub("", texts["output"], count=1) if _PREFIX.match(texts["output"]) else texts["output"],
        output_fields=plain,
        tags=tuple(clipped(_clean(str(tag)), _LONGEST_NAME) for tag in tags),
        source=texts["source"] or "syscall",
        hostname=texts["hostname"],
        event={name: value for name, value in plain.items() if value is not None},
    )
    return bounded(alert)


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON")


def _clean(text: str) -> str:
    """Replace halves of surrogate pairs, which JSON can write and no encoding can."""
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def _plain(value: Any) -> Value:
    if isinstance(value, str):
        return _clean(value)
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value if isinstance(value, int | float | None) else _clean(json.dumps(value))


def _nanoseconds(text: str) -> int:
    """Read RFC 3339 with nanoseconds, which datetime can't hold."""
    head, dot, rest = text.partition(".")
    digits = rest[: len(rest) - len(rest.lstrip("0123456789"))] if dot else ""
    zone = rest[len(digits) :] if dot else ""
    try:
        moment = datetime.fromisoformat(head + zone)
    except ValueError:
        raise ValueError(f"time: {text[:40]!r} is no date and time") from None
    if moment.tzinfo is None:
        raise ValueError(f"time: {text[:40]!r} names no zone")
    found = int(moment.timestamp()) * 1_000_000_000 + int(f"{digits:0<9}"[:9])
    if not 0 <= found < _LATEST:
        raise ValueError(f"time: {text[:40]!r} is no time of an event")
    return found
