"""An alert as a document of the Elastic Common Schema (ECS).

The table maps each ECS field to its source; missing values are left out. The data stream is one that Elastic
Security reads by default: its rule *External Alerts* makes an alert of each document in `logs-*` of the kind `alert`.
"""

from collections.abc import Callable, Iterator, Mapping
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import urlencode, urljoin

from foundation.quantities import iso8601_zulu
from notifier.formats.facts import ancestors, entity_id
from notifier.formats.kinds import (
    category,
    dns_answers,
    file_path,
    indicator,
    is_file,
    is_login,
    is_socket,
    protocol,
    resolved,
    types,
)
from notifier.formats.phrases import has_failed
from schemas.action import ACTION_TAKEN
from schemas.alert import ARGUMENTS, Alert, Value
from schemas.catalog.attack import TECHNIQUE_TAGS as TECHNIQUES
from schemas.catalog.attack import link, tactics, techniques
from schemas.catalog.fields import SYSCALL
from schemas.catalog.priorities import by_priority
from schemas.catalog.system_calls import CLONES, EXECS
from schemas.encoding.limits import MAX_CLOCK
from schemas.limits import clipped_values

ECS_VERSION = "8.17.0"
DATA_STREAM = "logs-lanner.alerts-default"
"""The type, the dataset and the namespace of the data stream."""
MAX_TERM_BYTES = 30 << 10
"""Length of values below `falco.output_fields`: OpenSearch refuses a document with a term of over 32,766 bytes."""
Source = str | Callable[[Alert], Any]
"""A field of the event, copied as it is; or a function of the alert."""

SEVERITY = by_priority(99, 99, 99, 73, 47, 21, 21, 21)
"""Elastic's scale: low 21, medium 47, high 73, critical 99."""

_SHA_256 = 64
"""Digits."""
_DIGESTS = ("container.image.digest", "proc.exe.sha256", "proc.script.sha256", "fd.file.sha256")
_NAMES = ("fd.cip.name", "fd.sip.name", "dns.question.name", "tls.client.server_name")


def _action(alert: Alert) -> Value:
    """Return the action, by the names that Elastic's agents use: Session View shows `exec` and `fork`."""
    if alert.rule == ACTION_TAKEN:
        return alert.output_fields.get("action.type")
    event = alert.event.get("evt.type")
    return "exec" if event in EXECS else "fork" if event in CLONES else event


def _outcome(alert: Alert) -> str | None:
    if alert.rule == ACTION_TAKEN:
        outcome = alert.output_fields.get("action.outcome")
        return "failure" if outcome in ("failed", "refused") else "unknown" if outcome == "gone" else "success"
    failed = False if is_login(alert) else has_failed(alert)
    return None if failed is None else "failure" if failed else "success"


def _constant(text: str) -> Source:
    return lambda _: text


def _time_of(field: str) -> Source:
    def read(alert: Alert) -> str | None:
        value = alert.event.get(field)
        return iso8601_zulu(value) if isinstance(value, int) and 0 < value < MAX_CLOCK else None

    return read


def _leader(name: str, pid: str) -> Iterator[tuple[str, Source]]:
    """Yield the fields of a process that leads others. pid: the field of the event."""
    field = f"process.{name}"
    yield f"{field}.pid", pid
    yield f"{field}.entity_id", lambda alert: entity_id(alert, pid, f"{field}.start")
    yield f"{field}.start", _time_of(f"{field}.start")
    yield f"{field}.name", f"{field}.name"
    yield f"{field}.executable", f"{field}.executable"
    yield f"{field}.same_as_process", lambda alert: _same(alert.event.get(pid), alert.event.get("proc.pid"))


def _same(one: Value, other: Value) -> bool | None:
    return None if one is None or other is None else one == other


def _terminal(part: Callable[[int], int]) -> Source:
    """Return a source that reads a part of the device number of the controlling terminal."""

    def read(alert: Alert) -> int | None:
        device = alert.event.get("proc.tty")
        return part(device) if isinstance(device, int) and device > 0 else None

    return read


def _items(alert: Alert, field: str) -> list[str]:
    value = alert.event.get(field)
    return list(value) if isinstance(value, tuple) else []


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


def _in_container(alert: Alert) -> bool:
    return alert.event.get("container.id") not in (None, "", "host")


def _in_pod(alert: Alert) -> bool:
    return bool(alert.event.get("k8s.pod.name"))


def _when(condition: Callable[[Alert], bool], text: str) -> Source:
    return lambda alert: text if condition(alert) else None


def _if_host(text: str) -> Source:
    return _when(lambda alert: alert.source == SYSCALL, text)


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


def _of_indicator(part: str) -> Source:
    def read(alert: Alert) -> str | None:
        value = alert.output_fields.get(f"indicator.{part}")
        return value if isinstance(value, str) else None

    return read


def _indicator_of(alert: Alert, *types: str) -> str | None:
    """Return the value of the indicator if it is of a type. A network or another digest than SHA-256 is a name only."""
    kind, value = indicator(alert)
    return value if kind in types and "/" not in value and (kind != "file" or len(value) == _SHA_256) else None


FIELDS: tuple[tuple[str, Source], ...] = (
    ("@timestamp", lambda alert: iso8601_zulu(alert.time)),
    ("ecs.version", _constant(ECS_VERSION)),
    ("message", lambda alert: alert.output),
    ("tags", lambda alert: list(alert.tags)),
    *zip(
        ("data_stream.type", "data_stream.dataset", "data_stream.namespace"),
        map(_constant, DATA_STREAM.split("-")),
        strict=True,
    ),
    ("event.id", lambda alert: alert.id),
    ("event.kind", _constant("alert")),
    ("event.module", _constant("lanner")),
    ("event.dataset", _constant("lanner.alerts")),
    ("event.provider", lambda alert: alert.source),
    ("event.category", category),
    ("event.type", types),
    ("event.action", _action),
    ("event.code", "evt.type"),
    ("event.outcome", _outcome),
    ("event.severity", lambda alert: SEVERITY[alert.priority]),
    ("event.created", _time_of("event.created")),
    ("event.start", lambda alert: iso8601_zulu(alert.repeats.first) if alert.repeats else None),
    ("event.end", lambda alert: iso8601_zulu(alert.repeats.last) if alert.repeats else None),
    ("agent.type", _if_host("lanner")),
    ("agent.id", lambda alert: alert.host_id),
    ("agent.name", lambda alert: alert.hostname if alert.host_id else None),
    ("agent.version", "agent.version"),
    ("log.level", lambda alert: alert.priority.lower()),
    # A rule's name is what identifies it.
    ("rule.id", lambda alert: alert.rule),
    ("rule.name", lambda alert: alert.rule),
    ("rule.description", lambda alert: alert.description),
    ("rule.ruleset", _constant("lanner")),
    ("threat.framework", lambda alert: "MITRE ATT&CK" if tactics(alert.tags) or techniques(alert.tags) else None),
    ("threat.tactic.id", lambda alert: [named.id for named in tactics(alert.tags)]),
    ("threat.tactic.name", lambda alert: [named.name for named in tactics(alert.tags)]),
    ("threat.tactic.reference", lambda alert: [named.link for named in tactics(alert.tags)]),
    ("threat.technique.id", _parents),
    ("threat.technique.name", lambda alert: _technique_names(_parents(alert))),
    ("threat.technique.reference", lambda alert: list(map(link, _parents(alert)))),
    ("threat.technique.subtechnique.id", lambda alert: _techniques(alert, sub=True)),
    ("threat.technique.subtechnique.name", lambda alert: _technique_names(_techniques(alert, sub=True))),
    ("threat.technique.subtechnique.reference", lambda alert: list(map(link, _techniques(alert, sub=True)))),
    ("threat.feed.name", _of_indicator("list")),
    # The time of the event is @timestamp.
    ("threat.enrichments.matched.occurred", _of_indicator("found_later")),
    ("threat.indicator.type", lambda alert: indicator(alert)[0]),
    ("threat.indicator.name", _of_indicator("name")),
    ("threat.indicator.provider", _of_indicator("source")),
    ("threat.indicator.description", _of_indicator("description")),
    ("threat.indicator.ip", lambda alert: _indicator_of(alert, "ipv4-addr", "ipv6-addr")),
    ("threat.indicator.url.domain", lambda alert: _indicator_of(alert, "domain-name")),
    ("threat.indicator.file.hash.sha256", lambda alert: _indicator_of(alert, "file")),
    ("host.id", lambda alert: alert.host_id),
    ("host.name", lambda alert: alert.hostname),
    ("host.hostname", lambda alert: alert.hostname),
    ("host.os.type", _if_host("linux")),
    ("host.os.kernel", "host.os.kernel"),
    ("host.os.name", "host.os.name"),
    ("host.architecture", "host.architecture"),
    ("host.ip", lambda alert: _items(alert, "host.ip")),
    ("process.pid", "proc.pid"),
    ("process.vpid", "proc.vpid"),
    ("process.entity_id", entity_id),
    ("process.name", "proc.name"),
    ("process.executable", "proc.exepath"),
    ("process.hash.sha256", "proc.exe.sha256"),
    ("process.command_line", "proc.cmdline"),
    ("process.args", lambda alert: _items(alert, ARGUMENTS)),
    ("process.args_count", lambda alert: len(_items(alert, ARGUMENTS)) or None),
    ("process.working_directory", "proc.cwd"),
    ("process.start", _time_of("proc.pid.ts")),
    ("process.parent.pid", "proc.ppid"),
    ("process.parent.entity_id", lambda alert: entity_id(alert, "proc.ppid", "proc.ppid.ts")),
    ("process.parent.name", "proc.pname"),
    ("process.parent.executable", "proc.pexepath"),
    ("process.parent.command_line", "proc.pcmdline"),
    ("process.parent.start", _time_of("proc.ppid.ts")),
    ("process.tty.char_device.major", _terminal(lambda device: device >> 8)),
    ("process.tty.char_device.minor", _terminal(lambda device: device & 0xFF)),
    ("process.user.id", _text_of("user.uid")),
    ("process.user.name", "user.name"),
    ("process.group.id", _text_of("group.gid")),
    ("process.group.name", "group.name"),
    *_leader("session_leader", "proc.sid"),
    *_leader("group_leader", "proc.pgid"),
    *_leader("entry_leader", "process.entry_leader.pid"),
    ("process.thread.id", "thread.tid"),
    ("user.id", _text_of("user.uid")),
    ("user.name", lambda alert: alert.event.get("user.name") or alert.event.get("sshd.user")),
    ("group.id", _text_of("group.gid")),
    ("group.name", "group.name"),
    ("file.path", file_path),
    ("file.name", lambda alert: PurePosixPath(file_path(alert)).name),
    ("file.directory", lambda alert: str(PurePosixPath(path).parent) if (path := file_path(alert)) else None),
    ("file.inode", lambda alert: str(alert.event["fd.ino"]) if is_file(alert) and "fd.ino" in alert.event else None),
    ("file.hash.sha256", "fd.file.sha256"),
    ("package.name", "proc.exe.package"),
    ("package.version", "proc.exe.package.version"),
    ("package.type", "proc.exe.package.type"),
    ("source.ip", lambda alert: alert.event.get("fd.cip" if is_socket(alert) else "sshd.address")),
    ("source.port", lambda alert: alert.event.get("fd.cport" if is_socket(alert) else "sshd.port")),
    ("source.domain", _if(is_socket, "fd.cip.name")),
    ("destination.ip", _if(is_socket, "fd.sip")),
    ("destination.port", _if(is_socket, "fd.sport")),
    ("destination.domain", _if(is_socket, "fd.sip.name")),
    ("dns.type", lambda alert: "answer" if protocol(alert) == "dns" else None),
    ("dns.question.name", "dns.question.name"),
    ("dns.question.registered_domain", "dns.question.registered_domain"),
    ("dns.question.type", "dns.question.type"),
    ("dns.response_code", "dns.response_code"),
    ("dns.answers.data", dns_answers),
    ("dns.resolved_ip", resolved),
    ("tls.client.server_name", "tls.client.server_name"),
    ("network.protocol", protocol),
    ("network.transport", _if(is_socket, "fd.l4proto")),
    ("network.type", _if(is_socket, "fd.type")),
    ("container.id", _if(_in_container, "container.id")),
    ("container.name", _if(_in_container, "container.name")),
    ("container.runtime", _if(_in_container, "container.type")),
    ("container.image.name", _if(_in_container, "container.image.repository")),
    ("container.image.tag", lambda alert: [tag] if (tag := alert.event.get("container.image.tag")) else None),
    (
        "container.image.hash.all",
        lambda alert: [digest] if (digest := alert.event.get("container.image.digest")) else None,
    ),
    ("related.user", lambda alert: _present(alert, "user.name", "user.loginname", "sshd.user")),
    ("related.hosts", lambda alert: list(dict.fromkeys(filter(None, (alert.hostname, *_present(alert, *_NAMES)))))),
    (
        "related.ip",
        lambda alert: list(
            dict.fromkeys(
                (*_present(alert, *("fd.cip", "fd.sip") * is_socket(alert), "sshd.address"), *resolved(alert))
            )
        ),
    ),
    (
        "related.hash",
        lambda alert: _present(
            alert, "container.image.digest", "proc.exe.sha256", "proc.script.sha256", "fd.file.sha256"
        ),
    ),
    ("orchestrator.cluster.name", lambda alert: alert.cluster_name or None),
    ("orchestrator.type", _when(_in_pod, "kubernetes")),
    ("orchestrator.namespace", _if(_in_pod, "k8s.ns.name")),
    ("orchestrator.resource.type", _when(_in_pod, "pod")),
    ("orchestrator.resource.name", _if(_in_pod, "k8s.pod.name")),
    ("orchestrator.resource.id", _if(_in_pod, "k8s.pod.uid")),
)
"""ECS field and its source."""


def _written(of: str) -> dict[str, Source]:
    return {
        "origin": f"{of}.origin",
        "written_by": f"{of}.written_by",
        "written_by_user": f"{of}.written_by.user",
        "written_at": _time_of(f"{of}.written_at"),
    }


def _packaged(of: str) -> dict[str, Source]:
    return {**_package(of), **_written(of)}


def _package(of: str) -> dict[str, Source]:
    return {
        "package": f"{of}.package",
        "package_version": f"{of}.package.version",
        "package_type": f"{of}.package.type",
    }


_PROGRAMS: Mapping[str, Mapping[str, Source]] = {
    "program": _written("proc.exe"),
    "script": {"path": "proc.script.path", "sha256": "proc.script.sha256", **_packaged("proc.script")},
    "file": _packaged("fd.file"),
    "server": {
        **{name: f"proc.server.{name}" for name in ("name", "pid", "listening", "libraries")},
        **_package("proc.server"),
    },
}
"""What ECS has no field for, below `falco`."""
PAGES: tuple[tuple[str, Callable[[Alert], str]], ...] = (
    ("event.url", lambda alert: f"alerts/{alert.id}"),
    ("rule.reference", lambda alert: f"rules/rule?{urlencode({'name': alert.rule})}"),
)
"""ECS field and the page of the console to which it refers: the alert's, and the rule's, with what to do about it."""


def document(alert: Alert, *, console: str = "") -> dict[str, Any]:
    """Return the document; values without an ECS field are under `falco`. console: its URL, empty if none is known."""
    made: dict[str, Any] = {}
    pages = [(name, urljoin(console, page(alert))) for name, page in PAGES] if console else []
    for name, value in (*_filled(alert), *pages):
        target = made
        *parents, last = name.split(".")
        for parent in parents:
            target = target.setdefault(parent, {})
        target[last] = value
    own: dict[str, Any] = {"priority": alert.priority, "source": alert.source}
    own["output_fields"] = {
        name: list(value) if isinstance(value, tuple) else value
        for name, value in clipped_values(alert.output_fields, MAX_TERM_BYTES).items()
        if value is not None
    }
    if alert.response:
        own["response"] = alert.response
    if found := list(ancestors(alert)):
        own["ancestors"] = found
    for kind, sources in _PROGRAMS.items():
        if known := {name: value for name, source in sources.items() if (value := _value(alert, source)) is not None}:
            own[kind] = known
    if alert.repeats:
        own["repeats"] = {"count": alert.repeats.count, "first_id": alert.repeats.first_id}
    made["falco"] = own
    return made


def _filled(alert: Alert) -> Iterator[tuple[str, Any]]:
    for name, source in FIELDS:
        value = _value(alert, source)
        if value is not None and value not in ("", []):
            yield name, value


def _value(alert: Alert, source: Source) -> Any:
    return alert.event.get(source) if isinstance(source, str) else source(alert)
