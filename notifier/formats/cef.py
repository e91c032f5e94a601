"""An alert in the Common Event Format (CEF), for SIEMs that read it from syslog.

Source: ArcSight Common Event Format, implementation standard, version 25 (escaping and the extension dictionary).
"""

from collections.abc import Iterator

from schemas.alert import Alert, Value
from schemas.catalogue.priorities import by_priority
from schemas.text.printable import printable

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
        text = _text(event.get(field))[:limit]
        if text and key not in yielded and (key != "filePath" or is_file):
            yielded.add(key)
            yield key, text
    number = 0
    custom = [(label, _text(event.get(field))) for label, field in _CUSTOM]
    for label, text in (*custom, ("Cluster", alert.cluster_name)):
        if text and (label, text) != ("Container", "host"):
            number += 1
            yield f"cs{number}Label", label
            yield f"cs{number}", text[:4000]
    if alert.repeats:
        yield "cnt", str(alert.repeats.count)
    # Last, because a receiver cuts a long record at the end.
    yield "msg", alert.output[:1023]


def _text(value: Value) -> str:
    if value is None:
        return ""
    return ",".join(value) if isinstance(value, tuple) else str(value)
