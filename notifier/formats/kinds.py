"""What the event of an alert is about, by the names of ECS: category, type, protocol, file, answers and indicator.

The documents of ECS, OCSF and CIM are all made from these.
"""

from foundation.text import canonical_address
from schemas.alert import Alert
from schemas.catalog.fields import SSHD
from schemas.catalog.system_calls import ATTRIBUTES, CLONES, EXECS, MODES, REMOVES, RENAMES, TIMES, TRUNCATES

_FILES = frozenset({"file", "directory"})
_SOCKETS = frozenset({"ipv4", "ipv6"})
_STARTS = frozenset({*EXECS, *CLONES})
_DELETIONS = frozenset(REMOVES)
_CHANGES = frozenset(
    {*(*RENAMES, *MODES, *TRUNCATES, *TIMES, *ATTRIBUTES), *("chown", "fchown", "fchownat", "fallocate")}
)


def category(alert: Alert) -> list[str]:
    """Return the event's category."""
    if alert.source == "internal":
        return ["host"]
    if alert.source == SSHD:
        return ["authentication"]
    kind, event = alert.event.get("fd.type"), alert.event.get("evt.type")
    if event in _STARTS:
        return ["process"]
    if kind in _SOCKETS:
        return ["network"]
    if kind in _FILES or event in _DELETIONS | _CHANGES:
        return ["file"]
    return ["process"]


def types(alert: Alert) -> list[str]:
    """Return the event's type within its category."""
    event, found = alert.event.get("evt.type"), category(alert)[0]
    if event in _STARTS or is_login(alert):
        return ["start"]
    if event in _DELETIONS:
        return ["deletion"]
    if protocol(alert):
        return ["connection", "protocol"]
    if event in _CHANGES or (found == "file" and alert.event.get("evt.is_open_write")):
        return ["change"]
    return {"file": ["access"], "network": ["connection"]}.get(found, ["info"])


def protocol(alert: Alert) -> str | None:
    """Return the protocol whose details an alert has."""
    if "dns.question.name" in alert.event:
        return "dns"
    return "tls" if "tls.client.server_name" in alert.event else None


def is_login(alert: Alert) -> bool:
    """Return whether a line of sshd is about an accepted login; of others, nothing but the text is known."""
    return "sshd.user" in alert.event


def is_file(alert: Alert) -> bool:
    """Return whether the event's descriptor is of a file or directory."""
    return alert.event.get("fd.type") in _FILES


def file_path(alert: Alert) -> str:
    """Return the path of the file that an event is about, the new one of a rename; empty if it is about none."""
    if is_file(alert):
        return str(alert.event.get("fd.name", ""))
    fields = ("fs.path.name", "fs.path.target") if category(alert) == ["file"] else ()
    return next((str(found) for field in fields if (found := alert.event.get(field))), "")


def is_socket(alert: Alert) -> bool:
    """Return whether the event's descriptor is a connection by IP."""
    return alert.event.get("fd.type") in _SOCKETS


def indicator(alert: Alert) -> tuple[str | None, str]:
    """Return the type, by STIX's names that ECS uses, and the value of the indicator that a rule found; or nothing."""
    name, kind = (alert.output_fields.get(f"indicator.{part}") for part in ("name", "kind"))
    if not isinstance(name, str) or not isinstance(kind, str):
        # A summary of repeats may have several.
        return None, ""
    if kind == "address":
        return "ipv6-addr" if ":" in name else "ipv4-addr", name
    return {"name": "domain-name", "digest": "file"}.get(kind), name


def dns_answers(alert: Alert) -> list[str]:
    """Return the addresses and aliases that a name server answered."""
    return str(alert.event.get("dns.answers", "")).split()


def resolved(alert: Alert) -> list[str]:
    """Return the addresses among the answers."""
    return [text for text in dns_answers(alert) if canonical_address(text)]
