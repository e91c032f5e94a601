"""An alert as an RFC 5424 syslog message with structured data. Pure."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

from notifier.formats.cef import cef
from notifier.formats.text import LineStyle, json_line, text_line
from schemas.alert import Alert, Value
from schemas.catalogue.priorities import SEVERITY
from schemas.text.printable import printable
from schemas.text.times import iso8601_zulu

Body = Literal["text", "json", "cef"]

LOCAL0 = 16
_BOM = b"\xef\xbb\xbf"
_VALUE_BYTES = 400
_FIELDS: tuple[tuple[str, str], ...] = (
    ("process", "proc.name"),
    ("pid", "proc.pid"),
    ("parent", "proc.pname"),
    ("user", "user.name"),
    ("login", "user.loginname"),
    ("file", "fd.name"),
    ("path", "fs.path.name"),
    ("container", "container.id"),
    ("container_name", "container.name"),
    ("image", "container.image"),
    ("image_digest", "container.image.digest"),
    ("pod", "k8s.pod.name"),
    ("namespace", "k8s.ns.name"),
    ("pod_uid", "k8s.pod.uid"),
)
"""Name of the parameter and field of the event."""


@dataclass(frozen=True, slots=True)
class SyslogStyle:
    """Options of a message."""

    body: Body = "text"
    facility: int = LOCAL0
    max_bytes: int = 8192
    """Receivers must accept 2048 bytes and may cut longer messages."""
    enterprise: int = 32473
    """Private enterprise number in the SD-ID. Lanner has none, so this is IANA's number for examples."""
    version: str = "0"
    """Version of Lanner."""


def message(alert: Alert, style: SyslogStyle) -> bytes:
    """Return the message, without framing."""
    number = style.facility * 8 + SEVERITY[alert.priority]
    # At most six digits of a second are allowed.
    time = iso8601_zulu(alert.time)[:26] + "Z"
    head = f"<{number}>1 {time} {_token(alert.hostname, 255)} lanner - alert ".encode("ascii", "replace")
    head += structured_data(alert, style.enterprise).encode() + b" "
    # An ASCII body needs no byte order mark, and parsers of JSON and CEF fail on one.
    room = style.max_bytes - len(head)
    if style.body == "json":
        return head + _json(alert, room)
    if style.body == "cef":
        return head + _cut(cef(alert, style.version).encode("utf-8", "replace"), room)
    return head + _BOM + _cut(text_line(alert, LineStyle()).encode("utf-8", "replace"), room - len(_BOM))


def structured_data(alert: Alert, enterprise: int) -> str:
    """Return the element with id, rule, process and container as parameters."""
    parameters = " ".join(f'{name}="{escape_parameter(text)}"' for name, text in _parameters(alert) if text)
    return f"[lanner@{enterprise} {parameters}]"


def escape_parameter(text: str) -> str:
    """Escape a parameter's value: quote, backslash and closing bracket. Source: RFC 5424, section 6.3.3."""
    shown = printable(text).encode("utf-8", "replace")[:_VALUE_BYTES].decode("utf-8", "ignore")
    return shown.replace("\\", "\\\\").replace('"', '\\"').replace("]", "\\]")


def octet_counted(data: bytes) -> bytes:
    """Frame a message for a stream. Source: RFC 6587, section 3.4.1; RFC 5425, section 4.3."""
    return b"%d %s" % (len(data), data)


def formatter(style: SyslogStyle) -> Callable[[Alert], bytes]:
    """Return a function that renders messages in a style."""
    return lambda alert: message(alert, style)


def _parameters(alert: Alert) -> Iterator[tuple[str, str]]:
    yield "id", alert.id
    yield "rule", alert.rule
    yield "priority", alert.priority
    yield "source", alert.source
    yield "host_id", alert.host_id
    yield "cluster", alert.cluster_name
    yield "tags", ",".join(alert.tags)
    for name, field in _FIELDS:
        yield name, _text(alert.event.get(field))
    if alert.repeats:
        yield "count", str(alert.repeats.count)
        yield "first_id", alert.repeats.first_id


def _text(value: Value) -> str:
    if value is None:
        return ""
    return ",".join(value) if isinstance(value, tuple) else str(value)


def _token(text: str, limit: int) -> str:
    """Return a part of the header: printable ASCII without blanks, or the nil value."""
    return "".join(character if "!" <= character <= "~" else "?" for character in text[:limit]) or "-"


def _json(alert: Alert, room: int) -> bytes:
    """Return JSON that fits. A cut object can't be parsed, so whole properties are left out."""
    whole = json_line(alert, LineStyle()).encode("utf-8", "replace")
    if len(whole) <= room:
        return whole
    shorter = LineStyle(json_include_output_fields_property=False)
    whole = json_line(alert, shorter).encode("utf-8", "replace")
    if len(whole) <= room:
        return whole
    shorter = LineStyle(json_include_output_fields_property=False, json_include_output_property=False)
    return json_line(alert, shorter).encode("utf-8", "replace")


def _cut(data: bytes, room: int) -> bytes:
    if len(data) <= room:
        return data
    return data[: max(0, room - 3)].decode("utf-8", "ignore").encode() + b"..."
