"""An alert as a Detection Finding (class 2004) of the Open Cybersecurity Schema Framework (OCSF).

Source: schema.ocsf.io, version 1.8.0. A summary of repeats is an update (activity 2) of the first alert's finding.
"""

import re
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import urljoin

from foundation.quantities import from_rfc3339
from notifier.formats.facts import ancestors, entity_id
from notifier.formats.kinds import dns_answers, file_path, indicator
from schemas.action import ACTION_TAKEN
from schemas.alert import Alert, Value
from schemas.catalog.attack import TECHNIQUE_TAGS as TECHNIQUES
from schemas.catalog.attack import tactics, techniques
from schemas.catalog.fields import SYSCALL
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
_UNKNOWN, _REGULAR, _DIRECTORY = 0, 1, 2
_SERVER = {"type_id": 1, "type": "Server"}
_DEVICE_UNKNOWN = {"type_id": 0, "type": "Unknown"}
_LINUX = {"type_id": 200, "type": "Linux"}
_SHA_256 = {"algorithm_id": 3, "algorithm": "SHA-256"}
_RULE = 1
_OF_ANCESTOR = (("pid", "pid"), ("name", "name"), ("path", "executable"), ("cmd_line", "command_line"))
"""OCSF's name, and that of `ancestors`."""
_UNMAPPED = (
    *("proc.exe.origin", "proc.exe.written_by", "proc.script.path", "proc.script.sha256", "proc.script.origin"),
    *("proc.script.package", "proc.script.package.version", "proc.script.written_by", "proc.script.written_by.user"),
    *("fd.file.origin", "fd.file.written_by"),
)
"""Fields of the event without a place, which matter even if the output doesn't name them."""
_OBSERVABLES: tuple[tuple[str, int, str], ...] = (
    ("device.hostname", 1, "Hostname"),
    ("evidences[].process.user.name", 4, "User Name"),
    ("evidences[].dst_endpoint.ip", 2, "IP Address"),
    ("evidences[].src_endpoint.ip", 2, "IP Address"),
    ("evidences[].dst_endpoint.hostname", 1, "Hostname"),
    ("evidences[].query.hostname", 1, "Hostname"),
    ("evidences[].tls.sni", 1, "Hostname"),
    ("evidences[].process.file.hashes[].value", 8, "Hash"),
    ("evidences[].process.name", 9, "Process Name"),
    ("evidences[].process.cmd_line", 13, "Command Line"),
    ("evidences[].process.uid", 39, "Process Entity Object: uid"),
    ("evidences[].file.path", 45, "File Path"),
    ("evidences[].file.hashes[].value", 8, "Hash"),
    ("evidences[].container.uid", 10, "Resource UID"),
)
"""Path in the finding, number and name of the type."""
_REMEDIATION = 7001
_ACTIVITIES = {
    **dict.fromkeys(("freeze", "isolate", "quarantine", "cordon", "label"), (1, "Isolate")),
    **dict.fromkeys(("kill", "lock", "evict"), (2, "Evict")),
    "collect": (5, "Detect"),
}
"""By type of action, number and name of the activity. Source: OCSF, class remediation_activity."""
_STATUSES = {"failed": (6, "Error"), "refused": (2, "Failure"), "gone": (3, "Does Not Exist")}
_MAPPED = frozenset(
    {
        *("evt.hostname", "proc.pid", "proc.pid.ts", "proc.name", "proc.exepath", "proc.cmdline", "proc.cwd"),
        *("proc.exe.sha256", "proc.exe.package", "proc.exe.package.version"),
        *(
            "fd.file.sha256",
            "fd.file.package",
            "fd.file.package.version",
            "fd.file.written_by.user",
            "fd.file.written_at",
        ),
        *("proc.exe.written_by.user", "proc.exe.written_at", "thread.tid", "user.uid", "user.name"),
        *("proc.ppid", "proc.ppid.ts", "proc.pname", "proc.pexepath", "proc.pcmdline"),
        *("proc.aname", "proc.apid", "proc.aexepath", "proc.acmdline"),
        *("fd.cip", "fd.cport", "fd.cip.name", "fd.sip", "fd.sport", "fd.sip.name"),
        *("container.id", "container.name", "container.type"),
        *("container.image.id", "container.image.repository", "container.image.tag", "container.image.digest"),
        *("dns.question.name", "dns.question.type", "dns.answers", "dns.response_code", "tls.client.server_name"),
    }
)
"""The fields of the event that have a place of their own; of ancestors, without their level."""


def document(alert: Alert, *, version: str = "0", console: str = "") -> dict[str, Any]:
    """Return the finding.

    Args:
        alert: becomes the finding.
        version: of Lanner.
        console: its URL; empty if none is known.
    """
    if alert.rule == ACTION_TAKEN:
        return _remediation(alert, version)
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
            "profiles": ["host"],
            "product": {"name": "Lanner", "vendor_name": "Lanner", "version": version},
        },
        "finding_info": _finding(alert, console),
        "device": _device(alert),
        "unmapped": {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in alert.output_fields.items()
            if value is not None and not _is_mapped(alert, name, value)
        },
    }
    if isinstance(created := alert.event.get("event.created"), int):
        made["metadata"]["logged_time"] = created // _MS
    made["unmapped"] |= {name: alert.event[name] for name in _UNMAPPED if name in alert.event}
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
        if "container" in evidence:
            made["metadata"]["profiles"].append("container")
    if found := _indicator(alert):
        made["osint"] = [found]
        made["metadata"]["profiles"].append("osint")
    observables = list(_observables(made))
    if observables:
        made["observables"] = observables
    return _known(made)


def _remediation(alert: Alert, version: str) -> dict[str, Any]:
    """Return what was done because of an alert, or by a person: an event of class Remediation Activity."""
    stated = alert.output_fields
    outcome = stated.get("action.outcome")
    is_undone = outcome in ("undone", "ended")
    activity, name = (3, "Restore") if is_undone else _ACTIVITIES.get(str(stated.get("action.type")), (99, "Other"))
    status_id, status = _STATUSES.get(str(outcome), (1, "Success"))
    severity_id, severity = SEVERITY[alert.priority]
    return _known(
        {
            "activity_id": activity,
            "activity_name": name,
            "category_uid": 7,
            "category_name": "Remediation",
            "class_uid": _REMEDIATION,
            "class_name": "Remediation Activity",
            "type_uid": _REMEDIATION * 100 + activity,
            "type_name": f"Remediation Activity: {name}",
            "command_uid": stated.get("action.id"),
            "time": alert.time // _MS,
            "severity_id": severity_id,
            "severity": severity,
            "status_id": status_id,
            "status": status,
            "status_detail": outcome,
            "message": alert.output,
            "metadata": {
                "version": OCSF_VERSION,
                "uid": alert.id,
                "correlation_uid": stated.get("action.alert"),
                "profiles": ["host"],
                "product": {"name": "Lanner", "vendor_name": "Lanner", "version": version},
            },
            "device": _device(alert),
            "unmapped": {name: value for name, value in stated.items() if value is not None},
        }
    )


def _is_mapped(alert: Alert, name: str, value: Value) -> bool:
    """Return whether a value of the output has another place. A summary's values are several, and have none."""
    if name.startswith("indicator."):
        return bool(indicator(alert)[1])
    stated = alert.hostname if name == "evt.hostname" else alert.event.get(name)
    is_path = value == file_path(alert) or (name == "fd.name" and "fd.sip" in alert.event)
    return value == stated and (is_path or name.partition("[")[0] in _MAPPED)


def _finding(alert: Alert, console: str) -> dict[str, Any]:
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
        "created_time": _found_later(alert) or alert.time // _MS,
        "first_seen_time": seen // _MS,
        "last_seen_time": (alert.repeats.last if alert.repeats else alert.time) // _MS,
        "data_sources": [alert.source],
        "analytic": {"type_id": _RULE, "type": "Rule", "name": alert.rule, "uid": alert.rule},
    }
    if console:
        made["src_url"] = urljoin(console, f"alerts/{alert.id}")
    return made | ({"attacks": attacks} if attacks else {})


def _found_later(alert: Alert) -> int:
    """Return when a search of stored events made an alert, ms since the epoch; 0 for other alerts."""
    value = alert.output_fields.get("indicator.found_later")
    return (from_rfc3339(value) or 0) // _MS if isinstance(value, str) else 0


def _technique(uid: str) -> dict[str, str]:
    return _named(uid, TECHNIQUES[uid]) if uid in TECHNIQUES else {"uid": uid}


def _named(uid: str, name: str) -> dict[str, str]:
    return {"uid": uid, "name": name}


def _known(values: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value not in (None, "", {}, [])}


_INDICATORS = {
    "ipv4-addr": (1, "IP Address"),
    "ipv6-addr": (1, "IP Address"),
    "domain-name": (2, "Domain"),
    "file": (4, "Hash"),
}
"""OSINT type of an indicator, by the name that ECS has for it."""


def _indicator(alert: Alert) -> dict[str, Any]:
    kind, value = indicator(alert)
    if not value:
        return {}
    number, name = _INDICATORS.get(kind or "", (99, "Other"))
    return _known(
        {
            "type_id": number,
            "type": name,
            "value": value,
            "name": alert.output_fields.get("indicator.list"),
            "vendor_name": alert.output_fields.get("indicator.source"),
            "desc": alert.output_fields.get("indicator.description"),
        }
    )


def _device(alert: Alert) -> dict[str, Any]:
    event, is_host = alert.event, alert.source == SYSCALL
    linux = {"name": event.get("host.os.name") or "Linux", **_LINUX, "kernel_release": event.get("host.os.kernel")}
    return _known(
        {
            **(_SERVER if is_host else _DEVICE_UNKNOWN),
            "hostname": alert.hostname or "unknown",
            "uid": alert.host_id,
            "ip": addresses[0] if isinstance(addresses := event.get("host.ip"), tuple) and addresses else None,
            "hw_info": _known({"cpu_architecture": event.get("host.architecture")}),
            "os": _known(linux) if is_host else None,
        }
    )


def _evidence(alert: Alert) -> dict[str, Any]:
    process = _process(alert)
    made = {
        "process": process,
        "file": _file(alert),
        "container": _container(alert),
        "src_endpoint": _endpoint(alert, "fd.cip", "fd.cport"),
        "dst_endpoint": _endpoint(alert, "fd.sip", "fd.sport"),
        "query": _query(alert),
        "data": _answers(alert),
        "tls": _tls(alert),
    }
    # The schema does not accept a container alone as evidence.
    found = {name: value for name, value in made.items() if value}
    return found if found.keys() - {"container", "tls"} else {}


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
            "file": _program(alert),
            "cmd_line": event.get("proc.cmdline"),
            "working_directory": event.get("proc.cwd"),
            "tid": event.get("thread.tid"),
            "created_time": start // _MS if isinstance(start, int) and start > 0 else None,
            "user": _user(alert),
            "parent_process": _parent(alert),
            "ancestry": list(_ancestry(alert)),
        }
    )


def _program(alert: Alert) -> dict[str, Any]:
    path, known = str(alert.event.get("proc.exepath") or ""), _identity(alert, "proc.exe")
    if not path or not known:
        return {}
    return {"type_id": _REGULAR, "path": path, "name": PurePosixPath(path).name or path, **known}


def _identity(alert: Alert, of: str) -> dict[str, Any]:
    """Return what is known of a file: its digest, its package, and who wrote it."""
    event = alert.event
    digest, package, written = (event.get(f"{of}.{name}") for name in ("sha256", "package", "written_at"))
    version = event.get(f"{of}.package.version")
    return _known(
        {
            "hashes": [{**_SHA_256, "value": digest}] if digest else None,
            "product": _known({"name": package, "version": version}) if package else None,
            "modifier": _known({"name": event.get(f"{of}.written_by.user")}),
            "modified_time": written // _MS if isinstance(written, int) else None,
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


def _ancestry(alert: Alert) -> Iterator[dict[str, Any]]:
    for each in ancestors(alert):
        yield _known({name: each.get(own) for name, own in _OF_ANCESTOR})


def _user(alert: Alert) -> dict[str, Any]:
    uid, name = alert.event.get("user.uid"), alert.event.get("user.name")
    return _known({"uid": None if uid is None else str(uid), "name": name})


def _file(alert: Alert) -> dict[str, Any]:
    path = file_path(alert)
    if not path:
        return {}
    kind = {"file": _REGULAR, "directory": _DIRECTORY}.get(str(alert.event.get("fd.type")), _UNKNOWN)
    return {"type_id": kind, "path": path, "name": PurePosixPath(path).name or path, **_identity(alert, "fd.file")}


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
    digest = str(event.get("container.image.digest") or "").rpartition("sha256:")
    if digest[1]:
        made["hash"] = {**_SHA_256, "value": digest[2]}
    return {name: value for name, value in made.items() if value}


def _endpoint(alert: Alert, address: str, port: str) -> dict[str, Any]:
    if not alert.event.get(address):
        return {}
    name = alert.event.get(f"{address}.name")
    return _known({"hostname": name, "ip": alert.event[address], "port": alert.event.get(port)})


def _query(alert: Alert) -> dict[str, Any]:
    name = alert.event.get("dns.question.name")
    return {} if not name else _known({"hostname": name, "type": alert.event.get("dns.question.type")})


def _answers(alert: Alert) -> dict[str, Any]:
    """Return what a name server answered, as the class DNS Activity has it: evidence has a place for the query only."""
    answers = [{"rdata": text} for text in dns_answers(alert)]
    return _known({"rcode": alert.event.get("dns.response_code"), "answers": answers})


def _tls(alert: Alert) -> dict[str, Any]:
    name = alert.event.get("tls.client.server_name")
    # The schema requires the version, which client and server have not agreed on yet.
    return {"version": "Unknown", "sni": name} if name else {}


def _observables(finding: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield those of `_OBSERVABLES` that the finding has."""
    for name, number, kind in _OBSERVABLES:
        value: Any = finding
        for part in name.split("."):
            found = value.get(part.removesuffix("[]"), {})
            value = found[0] if isinstance(found, list) else found
        if value:
            yield {"name": name, "type_id": number, "type": kind, "value": str(value)}
