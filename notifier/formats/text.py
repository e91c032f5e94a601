"""An alert as one line, as text or JSON: Falco's two formats, so that parsers of Falco's output work."""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from foundation.text import printable
from foundation.times import clock, iso8601, iso8601_zulu
from notifier.formats.origins import remarks
from schemas.alert import Alert, Value

Line = Callable[[Alert], str]


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


BODY_LENGTH = 1200
REMARKS_LENGTH = 400
RESPONSE_LENGTH = 300
"""Together within the limit of most services; longer text is cut at the end."""
TITLE_LENGTH = 200
_JOINER = "\u2060"
_ACTIVE = re.compile(r"(?<=[@<#`*_~])|(?<=\])(?=\()|(?<=:)(?=/)|(?<=[\w])\.(?=[a-zA-Z])", re.ASCII)
"""Positions after characters that services read as a mention, a tag or formatting, and inside what becomes a link."""


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
