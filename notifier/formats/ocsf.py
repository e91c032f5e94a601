"""An alert as a Detection Finding (class 2004) of the Open Cybersecurity Schema Framework (OCSF).

Source: schema.ocsf.io, version 1.8.0. A summary of repeats is an update (activity 2) of the first alert's finding.
"""

import re
from typing import Any

from notifier.formats.facts import entity_id
from schemas.alert import Alert
from schemas.catalog.attack import TECHNIQUE_TAGS as TECHNIQUES
from schemas.catalog.attack import tactics, techniques
from schemas.catalog.priorities import by_priority

OCSF_VERSION = "1.8.0"
CLASS, CATEGORY = 2004, 2
CREATE, UPDATE = 1, 2

SEVERITY = by_priority(
    (6, "Fatal"), (6, "Fatal"), (5, "Critical"), (4, "High"),
    (3, "Medium"), (2, "Low"), (1, "Informational"), (1, "Informational"),
)  # fmt: skip
_MS = 1_000_000
_UUID = re.compile("[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE | re.ASCII)
_REGULAR, _DIRECTORY = 1, 2
_DEVICE_UNKNOWN = 0
_RULE = 1
_OBSERVABLES: tuple[tuple[str, int, str, str], ...] = (
    ("device.hostname", 1, "Hostname", "evt.hostname"),
    ("evidences[].process.actor.user.name", 4, "User Name", "user.name"),
    ("evidences[].dst_endpoint.ip", 2, "IP Address", "fd.sip"),
    ("evidences[].src_endpoint.ip", 2, "IP Address", "fd.cip"),
    ("evidences[].process.name", 9, "Process Name", "proc.name"),
)


def document(alert: Alert, *, version: str = "0") -> dict[str, Any]:
    """Return the finding. version: of Lanner."""
    activity = UPDATE if alert.repeats else CREATE
    severity_id, severity = SEVERITY[alert.priority]
    time = alert.time // _MS
    made: dict[str, Any] = {
        "activity_id": activity,
        "activity_name": "Update" if alert.repeats else "Create",
        "category_uid": CATEGORY,
        "category_name": "Findings",
        "class_uid": CLASS,
        "class_name": "Detection Finding",
        "type_uid": CLASS * 100 + activity,
        "type_name": f"Detection Finding: {'Update' if alert.repeats else 'Create'}",
        "time": time,
        "severity_id": severity_id,
        "severity": severity,
        "status_id": 1,
        "status": "New",
        "is_alert": True,
        "message": alert.output,
        "metadata": {
            "version": OCSF_VERSION,
            "uid": alert.id,
            "event_code": alert.source,
            "labels": list(alert.tags),
            "product": {"name": "Lanner", "vendor_name": "Lanner", "version": version},
        },
        "finding_info": _finding(alert),
        "device": _device(alert),
        "unmapped": {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in alert.output_fields.items()
            if value is not None
        },
    }
    if alert.cluster_name:
        made["unmapped"]["cluster_name"] = alert.cluster_name
    if alert.response:
        made["remediation"] = {"desc": alert.response}
    if alert.repeats:
        made["count"] = alert.repeats.count
        made["start_time"] = alert.repeats.first // _MS
        made["end_time"] = alert.repeats.last // _MS
    elif alert.window:
        made["count"] = alert.window.count
        made["start_time"] = alert.window.first // _MS
        made["end_time"] = alert.window.last // _MS
    evidence = _evidence(alert)
    if evidence:
        made["evidences"] = [evidence]
    observables = list(_observables(alert))
    if observables:
        made["observables"] = observables
    return made


def _finding(alert: Alert) -> dict[str, Any]:
    attacks: list[dict[str, Any]] = [{"tactic": _named(each.id, each.name)} for each in tactics(alert.tags)]
    for named in techniques(alert.tags):
        parent = _technique(named.id.split(".", maxsplit=1)[0])
        attacks.append(
            {"technique": parent, "sub_technique": _technique(named.id)} if "." in named.id else {"technique": parent}
        )
    seen = alert.repeats.first if alert.repeats else alert.window.first if alert.window else alert.time
    made: dict[str, Any] = {
        # A summary updates the finding of the first alert.
        "uid": alert.repeats.first_id if alert.repeats else alert.id,
        "title": alert.rule,
        "desc": alert.description or alert.output,
        "created_time": alert.time // _MS,
        "first_seen_time": seen // _MS,
        "last_seen_time": (alert.repeats.last if alert.repeats else alert.time) // _MS,
        "data_sources": [alert.source],
        "analytic": {"type_id": _RULE, "type": "Rule", "name": alert.rule, "uid": alert.rule},
    }
    return made | ({"attacks": attacks} if attacks else {})


def _technique(uid: str) -> dict[str, str]:
    return _named(uid, TECHNIQUES[uid]) if uid in TECHNIQUES else {"uid": uid}


def _named(uid: str, name: str) -> dict[str, str]:
    return {"uid": uid, "name": name}


def _known(values: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value not in (None, "", {})}


def _device(alert: Alert) -> dict[str, Any]:
    return _known({"type_id": _DEVICE_UNKNOWN, "hostname": alert.hostname or "unknown", "uid": alert.host_id})


def _evidence(alert: Alert) -> dict[str, Any]:
    process = _process(alert)
    made = {
        "process": process,
        "file": _file(alert),
        "container": _container(alert),
        "src_endpoint": _endpoint(alert, "fd.cip", "fd.cport"),
        "dst_endpoint": _endpoint(alert, "fd.sip", "fd.sport"),
    }
    # The schema does not accept a container alone as evidence.
    found = {name: value for name, value in made.items() if value}
    return found if found.keys() - {"container"} else {}


def _process(alert: Alert) -> dict[str, Any]:
    event = alert.event
    if event.get("proc.pid") is None:
        return {}
    start = event.get("proc.pid.ts")
    return _known(
        {
            "pid": event["proc.pid"],
            "uid": entity_id(alert),
            "name": event.get("proc.name"),
            "path": event.get("proc.exepath"),
            "cmd_line": event.get("proc.cmdline"),
            "working_directory": event.get("proc.cwd"),
            "tid": event.get("thread.tid"),
            "created_time": start // _MS if isinstance(start, int) and start > 0 else None,
            "user": _user(alert),
            "parent_process": _parent(alert),
        }
    )


def _parent(alert: Alert) -> dict[str, Any]:
    event = alert.event
    if event.get("proc.ppid") is None:
        return {}
    return _known(
        {
            "pid": event["proc.ppid"],
            "uid": entity_id(alert, "proc.ppid", "proc.ppid.ts"),
            "name": event.get("proc.pname"),
            "path": event.get("proc.pexepath"),
            "cmd_line": event.get("proc.pcmdline"),
        }
    )


def _user(alert: Alert) -> dict[str, Any]:
    uid, name = alert.event.get("user.uid"), alert.event.get("user.name")
    return _known({"uid": None if uid is None else str(uid), "name": name})


def _file(alert: Alert) -> dict[str, Any]:
    kinds = {"file": _REGULAR, "directory": _DIRECTORY}
    kind, path = alert.event.get("fd.type"), alert.event.get("fd.name")
    if kind not in kinds or not path:
        return {}
    name = alert.event.get("fd.filename") or path
    return {"type_id": kinds[str(kind)], "path": path, "name": name}


def _container(alert: Alert) -> dict[str, Any]:
    event = alert.event
    if event.get("container.id") in (None, "", "host"):
        return {}
    made: dict[str, Any] = {
        "uid": event["container.id"],
        "name": event.get("container.name"),
        "runtime": event.get("container.type"),
        # The uid of a static pod is a bare hash, which the schema does not accept.
        "pod_uuid": uid if _UUID.fullmatch(uid := str(event.get("k8s.pod.uid", ""))) else None,
    }
    image = event.get("container.image.repository") or event.get("container.image")
    if image:
        made["image"] = {"uid": event.get("container.image.id") or image, "name": image}
        if event.get("container.image.tag"):
            made["image"]["tag"] = event["container.image.tag"]
    return {name: value for name, value in made.items() if value}


def _endpoint(alert: Alert, address: str, port: str) -> dict[str, Any]:
    if not alert.event.get(address):
        return {}
    return _known({"ip": alert.event[address], "port": alert.event.get(port)})


def _observables(alert: Alert) -> list[dict[str, Any]]:
    facts = {**alert.event, "evt.hostname": alert.hostname}
    return [
        {"name": name, "type_id": number, "type": kind, "value": str(facts[field])}
        for name, number, kind, field in _OBSERVABLES
        if facts.get(field)
    ]
