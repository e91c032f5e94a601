"""An alert as a document of the Elastic Common Schema (ECS).

The table maps each ECS field to its source; missing values are left out.
"""

from collections.abc import Callable, Iterator
from typing import Any

from foundation.times import iso8601_zulu
from notifier.formats.facts import entity_id
from schemas.alert import Alert, Value
from schemas.catalog.attack import TECHNIQUE_TAGS as TECHNIQUES
from schemas.catalog.attack import tactics, techniques
from schemas.catalog.priorities import by_priority
from schemas.catalog.system_calls import ATTRIBUTES, CLONES, EXECS, MODES, REMOVES, RENAMES, TRUNCATES

ECS_VERSION = "8.17.0"
Source = str | Callable[[Alert], Any]
"""A field of the event, copied as it is; or a function of the alert."""

SEVERITY = by_priority(99, 99, 99, 73, 47, 21, 21, 21)
"""Elastic's scale: low 21, medium 47, high 73, critical 99."""

_FILES = frozenset({"file", "directory"})
_SOCKETS = frozenset({"ipv4", "ipv6"})
_STARTS = frozenset({*EXECS, *CLONES})
_DELETIONS = frozenset(REMOVES)
_CHANGES = frozenset({*(*RENAMES, *MODES, *TRUNCATES, *ATTRIBUTES), *("chown", "fchown", "fchownat", "fallocate")})


def _category(alert: Alert) -> list[str]:
    if alert.source == "internal":
        return ["host"]
    kind, event = alert.event.get("fd.type"), alert.event.get("evt.type")
    if event in _STARTS:
        return ["process"]
    if kind in _SOCKETS:
        return ["network"]
    if kind in _FILES or event in _DELETIONS | _CHANGES:
        return ["file"]
    return ["process"]


def _type(alert: Alert) -> list[str]:
    event, category = alert.event.get("evt.type"), _category(alert)[0]
    if event in _STARTS:
        return ["start"]
    if event in _DELETIONS:
        return ["deletion"]
    if event in _CHANGES or (category == "file" and alert.event.get("evt.is_open_write")):
        return ["change"]
    return {"file": ["access"], "network": ["connection"]}.get(category, ["info"])


def _outcome(alert: Alert) -> str | None:
    failed = alert.event.get("evt.failed")
    return None if failed is None else "failure" if failed else "success"


def _time_of(field: str) -> Source:
    def read(alert: Alert) -> str | None:
        value = alert.event.get(field)
        return iso8601_zulu(value) if isinstance(value, int) and value > 0 else None

    return read


def _text_of(field: str) -> Source:
    """Return a source that reads a number as text: ECS ids are keywords."""

    def read(alert: Alert) -> str | None:
        value = alert.event.get(field)
        return None if value is None else str(value)

    return read


def _if(condition: Callable[[Alert], bool], source: str) -> Source:
    def read(alert: Alert) -> Value:
        return alert.event.get(source) if condition(alert) else None

    return read


def _is_file(alert: Alert) -> bool:
    return alert.event.get("fd.type") in _FILES


def _is_socket(alert: Alert) -> bool:
    return alert.event.get("fd.type") in _SOCKETS


def _in_container(alert: Alert) -> bool:
    return alert.event.get("container.id") not in (None, "", "host")


def _in_pod(alert: Alert) -> bool:
    return bool(alert.event.get("k8s.pod.name"))


def _when(condition: Callable[[Alert], bool], text: str) -> Source:
    return lambda alert: text if condition(alert) else None


def _techniques(alert: Alert, *, sub: bool) -> list[str]:
    return [named.id for named in techniques(alert.tags) if ("." in named.id) == sub]


def _parents(alert: Alert) -> list[str]:
    """Return techniques, including the parents of subtechniques: ECS requires both."""
    return sorted({named.id.split(".", maxsplit=1)[0] for named in techniques(alert.tags)})


def _technique_names(ids: list[str]) -> list[str]:
    """Return the names of techniques, in the order of their ids; the id itself where no name is known."""
    return [TECHNIQUES.get(number, number) for number in ids]


def _present(alert: Alert, *fields: str) -> list[str]:
    """Return the distinct values of fields, for searches that don't know in which field a value is."""
    return list(dict.fromkeys(str(value) for field in fields if (value := alert.event.get(field))))


FIELDS: tuple[tuple[str, Source], ...] = (
    ("@timestamp", lambda alert: iso8601_zulu(alert.time)),
    ("ecs.version", lambda _: ECS_VERSION),
    ("message", lambda alert: alert.output),
    ("tags", lambda alert: list(alert.tags)),
    ("event.id", lambda alert: alert.id),
    ("event.kind", lambda _: "alert"),
    ("event.module", lambda _: "lanner"),
    ("event.dataset", lambda _: "lanner.alerts"),
    ("event.provider", lambda alert: alert.source),
    ("event.category", _category),
    ("event.type", _type),
    ("event.action", "evt.type"),
    ("event.outcome", _outcome),
    ("event.severity", lambda alert: SEVERITY[alert.priority]),
    ("event.start", lambda alert: iso8601_zulu(alert.repeats.first) if alert.repeats else None),
    ("event.end", lambda alert: iso8601_zulu(alert.repeats.last) if alert.repeats else None),
    ("log.level", lambda alert: alert.priority.lower()),
    ("rule.name", lambda alert: alert.rule),
    ("rule.description", lambda alert: alert.description),
    ("rule.ruleset", lambda _: "lanner"),
    ("threat.framework", lambda alert: "MITRE ATT&CK" if tactics(alert.tags) or techniques(alert.tags) else None),
    ("threat.tactic.id", lambda alert: [named.id for named in tactics(alert.tags)]),
    ("threat.tactic.name", lambda alert: [named.name for named in tactics(alert.tags)]),
    ("threat.tactic.reference", lambda alert: [named.link for named in tactics(alert.tags)]),
    ("threat.technique.id", _parents),
    ("threat.technique.name", lambda alert: _technique_names(_parents(alert))),
    ("threat.technique.subtechnique.id", lambda alert: _techniques(alert, sub=True)),
    ("threat.technique.subtechnique.name", lambda alert: _technique_names(_techniques(alert, sub=True))),
    ("host.id", lambda alert: alert.host_id),
    ("host.name", lambda alert: alert.hostname),
    ("host.hostname", lambda alert: alert.hostname),
    ("host.os.type", lambda alert: "linux" if alert.source == "syscall" else None),
    ("process.pid", "proc.pid"),
    ("process.entity_id", entity_id),
    ("process.name", "proc.name"),
    ("process.executable", "proc.exepath"),
    ("process.command_line", "proc.cmdline"),
    ("process.working_directory", "proc.cwd"),
    ("process.start", _time_of("proc.pid.ts")),
    ("process.parent.pid", "proc.ppid"),
    ("process.parent.entity_id", lambda alert: entity_id(alert, "proc.ppid", "proc.ppid.ts")),
    ("process.parent.name", "proc.pname"),
    ("process.parent.executable", "proc.pexepath"),
    ("process.parent.command_line", "proc.pcmdline"),
    ("process.parent.start", _time_of("proc.ppid.ts")),
    ("process.session_leader.pid", "proc.sid"),
    ("process.group_leader.pid", "proc.pgid"),
    ("process.thread.id", "thread.tid"),
    ("user.id", _text_of("user.uid")),
    ("user.name", "user.name"),
    ("group.id", _text_of("group.gid")),
    ("group.name", "group.name"),
    ("file.path", _if(_is_file, "fd.name")),
    ("file.name", _if(_is_file, "fd.filename")),
    ("file.directory", _if(_is_file, "fd.directory")),
    ("file.inode", lambda alert: str(alert.event["fd.ino"]) if _is_file(alert) and "fd.ino" in alert.event else None),
    ("source.ip", _if(_is_socket, "fd.cip")),
    ("source.port", _if(_is_socket, "fd.cport")),
    ("destination.ip", _if(_is_socket, "fd.sip")),
    ("destination.port", _if(_is_socket, "fd.sport")),
    ("network.transport", _if(_is_socket, "fd.l4proto")),
    ("network.type", _if(_is_socket, "fd.type")),
    ("container.id", _if(_in_container, "container.id")),
    ("container.name", _if(_in_container, "container.name")),
    ("container.runtime", _if(_in_container, "container.type")),
    ("container.image.name", _if(_in_container, "container.image.repository")),
    ("container.image.tag", lambda alert: [tag] if (tag := alert.event.get("container.image.tag")) else None),
    (
        "container.image.hash.all",
        lambda alert: [digest] if (digest := alert.event.get("container.image.digest")) else None,
    ),
    ("related.user", lambda alert: _present(alert, "user.name", "user.loginname")),
    ("related.hosts", lambda alert: [alert.hostname] if alert.hostname else []),
    ("related.ip", lambda alert: _present(alert, "fd.cip", "fd.sip") if _is_socket(alert) else []),
    ("related.hash", lambda alert: _present(alert, "container.image.digest")),
    ("orchestrator.cluster.name", lambda alert: alert.cluster_name or None),
    ("orchestrator.type", _when(_in_pod, "kubernetes")),
    ("orchestrator.namespace", _if(_in_pod, "k8s.ns.name")),
    ("orchestrator.resource.type", _when(_in_pod, "pod")),
    ("orchestrator.resource.name", _if(_in_pod, "k8s.pod.name")),
    ("orchestrator.resource.id", _if(_in_pod, "k8s.pod.uid")),
)
"""ECS field and its source."""


def document(alert: Alert) -> dict[str, Any]:
    """Return the document; values without an ECS field are under `falco`."""
    made: dict[str, Any] = {}
    for name, value in _filled(alert):
        target = made
        *parents, last = name.split(".")
        for parent in parents:
            target = target.setdefault(parent, {})
        target[last] = value
    own: dict[str, Any] = {"priority": alert.priority, "source": alert.source}
    own["output_fields"] = {
        name: list(value) if isinstance(value, tuple) else value
        for name, value in alert.output_fields.items()
        if value is not None
    }
    if alert.response:
        own["response"] = alert.response
    if alert.repeats:
        own["repeats"] = {"count": alert.repeats.count, "first_id": alert.repeats.first_id}
    made["falco"] = own
    return made


def _filled(alert: Alert) -> Iterator[tuple[str, Any]]:
    for name, source in FIELDS:
        value = alert.event.get(source) if isinstance(source, str) else source(alert)
        if value is not None and value not in ("", []):
            yield name, value
