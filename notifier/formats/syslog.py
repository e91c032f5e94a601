"""An alert as an RFC 5424 syslog message, with structured data or as CEF. Pure."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal

from foundation.quantities import iso8601_zulu
from foundation.text import printable
from notifier.formats.falco import LineStyle, json_line, text_line, value_text
from notifier.formats.phrases import origins, remarks
from schemas.alert import Alert
from schemas.catalog.priorities import SEVERITY as RFC5424_SEVERITY
from schemas.catalog.priorities import by_priority

SEVERITY = by_priority(10, 9, 8, 7, 5, 3, 1, 0)
_FIELDS: tuple[tuple[str, str, int], ...] = (
    ("dproc", "proc.name", 1023),
    ("dpid", "proc.pid", 20),
    ("spid", "proc.ppid", 20),
    ("sproc", "proc.pname", 1023),
    ("duid", "user.uid", 1023),
    ("duser", "user.name", 1023),
    ("filePath", "fd.name", 1023),
    ("filePath", "fs.path.name", 1023),
    ("src", "fd.cip", 45),
    ("spt", "fd.cport", 5),
    ("dst", "fd.sip", 45),
    ("dhost", "fd.sip.name", 1023),
    ("dpt", "fd.sport", 5),
    ("proto", "fd.l4proto", 31),
    ("act", "evt.type", 63),
)
"""Key of the extension dictionary, field of the event, and maximum length of the key's value.

The first of a key's fields that has a value counts.
"""
_CUSTOM: tuple[tuple[str, str], ...] = (
    ("Container", "container.name"),
    ("Image", "container.image"),
    ("Pod", "k8s.pod.name"),
    ("Namespace", "k8s.ns.name"),
    ("CommandLine", "proc.cmdline"),
)
"""Fields without a key in the dictionary, under our own labels."""


def cef(alert: Alert, version: str) -> str:
    """Return the record, on one line."""
    header = ("CEF:0", "Lanner", "Lanner", version, alert.rule[:512], alert.rule[:512], str(SEVERITY[alert.priority]))
    extension = " ".join(f"{key}={escape_value(text)}" for key, text in _extension(alert) if text)
    return "|".join((header[0], *(escape_header(part) for part in header[1:]))) + "|" + extension


def escape_header(text: str) -> str:
    """Escape backslash and pipe in a part of the header, and make line breaks printable."""
    return printable(text).replace("\\", "\\\\").replace("|", "\\|")


def escape_value(text: str) -> str:
    r"""Escape backslash and equals sign in a value; a line break becomes a backslash and an n."""
    lines = (printable(line).replace("\\", "\\\\").replace("=", "\\=") for line in text.split("\n"))
    return "\\n".join(lines)


def _extension(alert: Alert) -> Iterator[tuple[str, str]]:
    yield "externalId", alert.id
    yield "rt", str(alert.time // 1_000_000)
    yield "dvchost", alert.hostname[:100]
    yield "cat", ",".join(alert.tags)[:1023]
    event = alert.event
    is_file = event.get("fd.type") not in ("ipv4", "ipv6")
    yielded = set[str]()
    for key, field, limit in _FIELDS:
        text = value_text(event.get(field))[:limit]
        if text and key not in yielded and (key != "filePath" or is_file):
            yielded.add(key)
            yield key, text
    number = 0
    custom = [(label, value_text(event.get(field))) for label, field in _CUSTOM]
    for label, text in (*custom, ("Cluster", alert.cluster_name)):
        if text and (label, text) != ("Container", "host"):
            number += 1
            yield f"cs{number}Label", label
            yield f"cs{number}", text[:4000]
    for number, (label, text) in enumerate(
        (("ProgramOrigin", origins(alert)), ("ProgramSHA256", value_text(event.get("proc.exe.sha256")))), start=1
    ):
        if text:
            yield f"flexString{number}Label", label
            yield f"flexString{number}", text[:1023]
    if alert.repeats:
        yield "cnt", str(alert.repeats.count)
    # Last, because a receiver cuts a long record at the end.
    yield "msg", alert.output[:1023]


Body = Literal["text", "json", "cef"]

LOCAL0 = 16
_BOM = b"\xef\xbb\xbf"
_VALUE_BYTES = 400
_RFC5424_FIELDS: tuple[tuple[str, str], ...] = (
    ("process", "proc.name"),
    ("pid", "proc.pid"),
    ("program", "proc.exepath"),
    ("sha256", "proc.exe.sha256"),
    ("origin", "proc.exe.origin"),
    ("package", "proc.exe.package"),
    ("package_version", "proc.exe.package.version"),
    ("written_by", "proc.exe.written_by"),
    ("file_sha256", "fd.file.sha256"),
    ("file_origin", "fd.file.origin"),
    ("file_written_by", "fd.file.written_by"),
    ("script", "proc.script.path"),
    ("script_sha256", "proc.script.sha256"),
    ("script_origin", "proc.script.origin"),
    ("script_written_by", "proc.script.written_by"),
    ("parent", "proc.pname"),
    ("user", "user.name"),
    ("login", "user.loginname"),
    ("file", "fd.name"),
    ("path", "fs.path.name"),
    ("server", "fd.sip.name"),
    ("tls_server", "tls.client.server_name"),
    ("query", "dns.question.name"),
    ("answers", "dns.answers"),
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
    number = style.facility * 8 + RFC5424_SEVERITY[alert.priority]
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
    text, known = text_line(alert, LineStyle()), printable(remarks(alert))
    text = f"{text} ({known})" if known else text
    return head + _BOM + _cut(text.encode("utf-8", "replace"), room - len(_BOM))


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


def _parameters(alert: Alert) -> Iterator[tuple[str, str]]:
    yield "id", alert.id
    yield "rule", alert.rule
    yield "priority", alert.priority
    yield "source", alert.source
    yield "host_id", alert.host_id
    yield "cluster", alert.cluster_name
    yield "tags", ",".join(alert.tags)
    for name, field in _RFC5424_FIELDS:
        yield name, value_text(alert.event.get(field))
    if alert.repeats:
        yield "count", str(alert.repeats.count)
        yield "first_id", alert.repeats.first_id


def _token(text: str, limit: int) -> str:
    """Return a part of the header: printable ASCII without blanks, or the nil value."""
    return "".join(character if "!" <= character <= "~" else "?" for character in text[:limit]) or "-"


def _json(alert: Alert, room: int) -> bytes:
    """Return JSON that fits. A cut object can't be parsed, so whole properties are left out."""
    shorter = LineStyle(json_include_output_fields_property=False)
    whole = b""
    for style in (LineStyle(), shorter, replace(shorter, json_include_output_property=False)):
        whole = json_line(alert, style).encode("utf-8", "replace")
        if len(whole) <= room:
            break
    return whole


def _cut(data: bytes, room: int) -> bytes:
    if len(data) <= room:
        return data
    return data[: max(0, room - 3)].decode("utf-8", "ignore").encode() + b"..."
