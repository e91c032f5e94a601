"""An alert as an event with the fields of Splunk's Common Information Model (CIM), beside those of Falco's JSON.

Each alert belongs to the model Alerts, and most to a second one, which `dataset` names. Splunk assigns events to models
by tags, which deploy/siem/splunk derives from it.

Source: the data models of CIM 6, as pytest-splunk-addon 7.0.2 lists their fields.
"""

from collections.abc import Callable, Mapping
from pathlib import PurePosixPath
from types import MappingProxyType
from typing import Any

from notifier.formats import falco
from notifier.formats.facts import entity_id
from notifier.formats.kinds import category, dns_answers, file_path, protocol, types
from notifier.formats.phrases import has_failed
from schemas.alert import Alert
from schemas.catalog.attack import techniques
from schemas.catalog.fields import SYSCALL
from schemas.catalog.priorities import SEVERITY, by_priority
from schemas.catalog.system_calls import ATTRIBUTES, MODES
from schemas.limits import clipped_values

SEVERITIES = by_priority(*["critical"] * 3, "high", "medium", "low", "informational", "informational")
MAX_FIELD_BYTES = 8 << 10
"""Length of a value: long ones make an event so large that Splunk leaves out the fields at its end."""
_FILE_ACTIONS = {"deletion": "deleted", "change": "modified", "access": "read"}
_REPLIES = {
    "NOERROR": "No Error",
    "FORMERR": "Format Error",
    "SERVFAIL": "Server Failure",
    "NXDOMAIN": "Non-Existent Domain",
    "NOTIMP": "NotImp",
    "REFUSED": "Refused",
    "YXDOMAIN": "YXDomain",
    "YXRRSET": "YXRRSet",
    "NXRRSET": "NXRRSet",
    "NOTAUTH": "NotAuth",
    "NOTZONE": "NotZone",
}
"""CIM's names of the response codes."""
_PERMISSIONS = frozenset({*MODES, *ATTRIBUTES, "chown", "fchown", "fchownat", "lchown"})


def document(alert: Alert) -> dict[str, Any]:
    """Return the event."""
    made = falco.document(alert)
    dataset = _dataset(alert)
    fields = _alert(alert) | _process(alert) | (_OF_DATASET[dataset](alert) if dataset else {"dest": alert.hostname})
    known = {name: value for name, value in fields.items() if value not in (None, "", [])}
    return made | clipped_values(known, MAX_FIELD_BYTES) | ({"dataset": dataset} if dataset else {})


def _dataset(alert: Alert) -> str:
    if "sshd.user" in alert.event:
        return "Authentication"
    if alert.source != SYSCALL:
        return ""
    if protocol(alert) == "dns":
        return "DNS"
    found = category(alert)[0]
    if found == "process":
        return "Processes" if types(alert) == ["start"] else ""
    return {"file": "Filesystem", "network": "All_Traffic"}.get(found, "")


def _alert(alert: Alert) -> dict[str, Any]:
    return {
        "app": "lanner",
        "description": alert.description or alert.output,
        "id": alert.id,
        "mitre_technique_id": [named.id for named in techniques(alert.tags)],
        "severity": SEVERITIES[alert.priority],
        "severity_id": SEVERITY[alert.priority],
        "signature": alert.rule,
        "signature_id": alert.rule,
        "src": alert.hostname,
        "type": "alert",
        "vendor_product": "Lanner",
    }


def _process(alert: Alert) -> dict[str, Any]:
    event = alert.event
    return {
        "os": "Linux" if alert.source == SYSCALL else None,
        "parent_process": event.get("proc.pcmdline"),
        "parent_process_exec": _name(event.get("proc.pexepath")),
        "parent_process_guid": entity_id(alert, "proc.ppid", "proc.ppid.ts"),
        "parent_process_id": event.get("proc.ppid"),
        "parent_process_name": event.get("proc.pname"),
        "parent_process_path": event.get("proc.pexepath"),
        "process": event.get("proc.cmdline"),
        "process_current_directory": event.get("proc.cwd"),
        "process_exec": _name(event.get("proc.exepath")),
        "process_guid": entity_id(alert),
        "process_hash": event.get("proc.exe.sha256"),
        "process_id": event.get("proc.pid"),
        "process_name": event.get("proc.name"),
        "process_path": event.get("proc.exepath"),
        "user": event.get("user.name"),
        "user_id": event.get("user.uid"),
    }


def _name(path: Any) -> str:
    return PurePosixPath(str(path or "")).name


def _started(alert: Alert) -> dict[str, Any]:
    return {"dest": alert.hostname, "action": _allowed(alert)}


def _file(alert: Alert) -> dict[str, Any]:
    event = alert.event
    path = file_path(alert)
    action = "acl_modified" if event.get("evt.type") in _PERMISSIONS else _FILE_ACTIONS.get(types(alert)[0])
    return {
        "dest": alert.hostname,
        "action": action,
        "file_path": path,
        "file_name": _name(path),
        "file_hash": event.get("fd.file.sha256"),
        "image": event.get("proc.exepath"),
    }


def _traffic(alert: Alert) -> dict[str, Any]:
    event = alert.event
    return {
        "action": _allowed(alert),
        "dest": event.get("fd.sip"),
        "dest_ip": event.get("fd.sip"),
        "dest_name": event.get("fd.sip.name") or event.get("tls.client.server_name"),
        "dest_port": event.get("fd.sport"),
        "direction": "inbound" if event.get("fd.is_server") else "outbound",
        "dvc": alert.hostname,
        "protocol": "ip",
        "protocol_version": event.get("fd.type"),
        "rule": alert.rule,
        "src": event.get("fd.cip") or alert.hostname,
        "src_ip": event.get("fd.cip"),
        "src_port": event.get("fd.cport"),
        "transport": event.get("fd.l4proto"),
    }


def _resolution(alert: Alert) -> dict[str, Any]:
    event, answers = alert.event, dns_answers(alert)
    code = str(event.get("dns.response_code", ""))
    return {
        "answer": answers,
        "answer_count": len(answers),
        "dest": event.get("fd.sip"),
        "message_type": "Response",
        "query": event.get("dns.question.name"),
        "query_count": 1,
        "query_type": "Query",
        "record_type": "*" if (kind := event.get("dns.question.type")) == "ANY" else kind,
        "reply_code": _REPLIES.get(code, code),
        "src": event.get("fd.cip") or alert.hostname,
        "transport": event.get("fd.l4proto"),
    }


def _login(alert: Alert) -> dict[str, Any]:
    event = alert.event
    return {
        "action": "success",
        "app": event.get("sshd.program") or "sshd",
        "authentication_method": event.get("sshd.method"),
        "dest": alert.hostname,
        "src": event.get("sshd.address"),
        "user": event.get("sshd.user"),
    }


def _allowed(alert: Alert) -> str:
    return "blocked" if has_failed(alert) else "allowed"


_OF_DATASET: Mapping[str, Callable[[Alert], dict[str, Any]]] = MappingProxyType(
    {"Processes": _started, "Filesystem": _file, "All_Traffic": _traffic, "DNS": _resolution, "Authentication": _login}
)
