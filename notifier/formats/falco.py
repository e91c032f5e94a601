"""Alerts in Falco's two formats: one line as text or JSON, and Falco's JSON as its `http_output` posts it, parsed.

Parsers of Falco's output therefore work. Services with a title and a body get both as harmless text.
"""

import json
import math
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from foundation.quantities import clock, iso8601, iso8601_zulu
from foundation.text import printable
from notifier.formats.phrases import remarks
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

Line = Callable[[Alert], str]
BODY_LENGTH = 1200
REMARKS_LENGTH = 400
RESPONSE_LENGTH = 300
"""Together within the limit of most services; longer text is cut at the end."""
TITLE_LENGTH = 200
_JOINER = "\u2060"
_ACTIVE = re.compile(r"(?<=[@<#`*_~])|(?<=\])(?=\()|(?<=:)(?=/)|(?<=[\w])\.(?=[a-zA-Z])", re.ASCII)
"""Positions after characters that services read as a mention, a tag or formatting, and inside what becomes a link."""


@dataclass(frozen=True, slots=True)
class LineStyle:
    """Options of a line, named like the settings."""

    json_output: bool = False
    time_format_iso_8601: bool = False
    json_include_output_property: bool = True
    json_include_output_fields_property: bool = True
    json_include_tags_property: bool = True


def line_of(style: LineStyle) -> Line:
    """Return a function that renders alerts in a style."""
    return (lambda alert: json_line(alert, style)) if style.json_output else (lambda alert: text_line(alert, style))


def text_line(alert: Alert, style: LineStyle) -> str:
    """Render `03:55:58.929949778: Notice A shell ...`, safe for a terminal."""
    return printable(_output(alert, style))


def json_line(alert: Alert, style: LineStyle) -> str:
    """Render one JSON object: Falco's keys in Falco's order, `id`, and `cluster_name` if it is configured.

    Bytes that are not text become U+FFFD, since JSON can't express them. If any other character is not printable, the
    line is escaped to ASCII, so that it is safe for a terminal.
    """
    record: dict[str, Any] = {"hostname": alert.hostname, "id": alert.id}
    if alert.cluster_name:
        record["cluster_name"] = alert.cluster_name
    if style.json_include_output_property:
        record["output"] = _output(alert, style)
    if style.json_include_output_fields_property:
        name = "evt.time.iso8601" if style.time_format_iso_8601 else "evt.time"
        # Without the pid, nobody finds the process of a line.
        pid = {"proc.pid": alert.event["proc.pid"]} if "proc.pid" in alert.event else {}
        record["output_fields"] = {name: alert.time, **pid, **alert.output_fields}
    record |= {"priority": alert.priority, "rule": alert.rule, "source": alert.source}
    if style.json_include_tags_property:
        record["tags"] = sorted(alert.tags)
    record["time"] = iso8601_zulu(alert.time)
    line = json.dumps(record, ensure_ascii=False, sort_keys=True, separators=(",", ":"), default=str)
    if line.isprintable():
        return line
    valid = line.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return valid if valid.isprintable() else json.dumps(json.loads(valid), sort_keys=True, separators=(",", ":"))


def value_text(value: Value) -> str:
    """Return a field's value as text; empty if it is missing."""
    if value is None:
        return ""
    return ",".join(value) if isinstance(value, tuple) else str(value)


def _output(alert: Alert, style: LineStyle) -> str:
    time = iso8601(alert.time, utc=True) if style.time_format_iso_8601 else clock(alert.time)
    return f"{time}: {alert.priority} {alert.output}"


def wording(alert: Alert) -> tuple[str, str]:
    """Return title and body."""
    inside = alert.event.get("container.id", "host") != "host"
    where = f"{alert.hostname} / {alert.event.get('container.name', '?')}" if inside else alert.hostname
    title = harmless(f"{alert.priority} | {alert.rule} | {where}", TITLE_LENGTH)
    known = remarks(alert)
    more = f"\n{harmless(known[:1].upper() + known[1:], REMARKS_LENGTH)}" if known else ""
    advice = f"\n{harmless(alert.response, RESPONSE_LENGTH)}" if alert.response else ""
    return title, f"{harmless(alert.output, BODY_LENGTH)}{more}{advice}\nlanner context {harmless(alert.id, 64)}"


def harmless(text: str, most: int) -> str:
    """Return a text without mentions or links: invisible joiners break up what services act on."""
    return _ACTIVE.sub(lambda found: found.group() + _JOINER, printable(text[:most]))[:most]


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
