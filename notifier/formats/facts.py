"""The facts of an alert in the order in which people need them; only those that have values.

The values are a host's own and not escaped; whoever prints them does that.
"""

from collections.abc import Callable, Iterator, Mapping
from hashlib import blake2b
from types import MappingProxyType

from foundation.quantities import seconds_text
from foundation.times import date_and_time_seconds, iso8601_zulu
from schemas.alert import Alert, Value
from schemas.catalog.fields import K8S_AUDIT, SOURCES, SYSCALL
from schemas.catalog.system_calls import (
    ACCEPTS,
    ATTRIBUTES,
    CLOCKS,
    CREATES,
    DUPLICATES,
    EXECS,
    FILE_OPENERS,
    LINKS,
    MODES,
    REMOVES,
    RENAMES,
    SYMLINKS,
    TIMES,
    TRUNCATES,
)
from schemas.encoding.limits import MAX_CLOCK

MAX_PART = 300
"""Characters of a file name or command in the phrase."""
Target = Callable[[Alert], str]
ACTION_FIELDS = frozenset(
    {
        *("evt.type", "evt.res", "evt.failed", "evt.is_open_read", "evt.is_open_write"),
        *("proc.name", "proc.pname", "proc.cmdline", "proc.exepath", "user.name", "user.uid"),
        *("fd.name", "fd.type", "fd.sip", "fd.sport", "fd.sip.name", "fd.cip", "fd.cport", "fd.cip.name"),
        *("dns.question.name", "dns.question.type", "dns.response_code", "dns.answers", "tls.client.server_name"),
        *("fs.path.name", "fs.path.source", "fs.path.target"),
        *("container.id", "container.name", "k8s.pod.name", "k8s.ns.name"),
    }
)
"""The fields that this module reads."""
NOERROR, NO_ADDRESS = "NOERROR", "no address"
"""The response code of an answer for a name that exists, and how it reads without addresses."""
_HARMLESS = ("EINPROGRESS", "SUCCESS")
"""Results that are no failure: a connection that is being made."""


def text_of(alert: Alert, field: str) -> str:
    """Return a field's value as text; empty if the alert doesn't have it."""
    value: Value = alert.event.get(field)
    if value is None:
        value = alert.output_fields.get(field)
    if value is None:
        return ""
    return ", ".join(value) if isinstance(value, tuple) else str(value)


def is_in_container(alert: Alert) -> bool:
    """Return whether the process was in a container."""
    return text_of(alert, "container.id") not in ("", "host")


def where(alert: Alert) -> str:
    """Return the host, and the pod or container; the cluster or the source for an event that names no host."""
    if alert.source == K8S_AUDIT:
        return f"in cluster {alert.cluster_name}" if alert.cluster_name else "in Kubernetes"
    if alert.source in SOURCES and alert.source != SYSCALL and not alert.hostname:
        return f"in {alert.source}"
    inside = _pod(alert)
    if not inside and is_in_container(alert):
        inside = text_of(alert, "container.name") or text_of(alert, "container.id")
    host = alert.hostname or "an unknown host"
    return f"in {_cut(inside)} on {host}" if inside else f"on {host}"


def sentence(alert: Alert) -> str:
    """Return what happened, and where."""
    return f"{action(alert)}, {where(alert)}"


def action(alert: Alert) -> str:
    """Return the phrase; the rule's output if the alert does not name a process."""
    process, event = text_of(alert, "proc.name"), _cut(text_of(alert, "evt.type"))
    if not process or not event or alert.repeats:
        return alert.output
    infinitive, past, target = _verb(alert, event)
    if event in EXECS:
        # The process is the new program already; the one that ran it is its parent.
        process = text_of(alert, "proc.pname") or process
    user = text_of(alert, "user.name") or text_of(alert, "user.uid")
    who = f"{_cut(process)} ({_cut(user)})" if user else _cut(process)
    result, failed = text_of(alert, "evt.res"), has_failed(alert)
    phrase = " ".join(filter(None, (who, f"failed to {infinitive}" if failed else past, _cut(target(alert)))))
    return f"{phrase} ({_cut(result)})" if failed and result else phrase


def program(alert: Alert) -> str:
    """Return where the program comes from, and what became of it since; empty if that is unknown."""
    origin, package, version, writer, user = (text_of(alert, f"proc.exe.{name}") for name in _OF_ORIGIN)
    at = alert.event.get("proc.exe.written_at")
    when = f" {seconds_text(max(0, alert.time - at) / 1e9)} ago" if isinstance(at, int) else ""
    return origin_text(origin, package_text(package, version), writer, user, when)


def package_text(name: str | None, version: str | None) -> str:
    """Return a package with its version, as far as they are known."""
    return _cut(" ".join(filter(None, (name, version))))


def origin_text(origin: str | None, package: str, writer: str | None, user: str | None, when: str) -> str:
    """Return where a program comes from, to follow the word "program"; empty if that is unknown.

    Args:
        origin: as `proc.exe.origin` has it.
        package: that lists it.
        writer: name of the process that wrote it.
        user: of that process.
        when: it did so, after a blank.
    """
    written = f"{when} by {_cut(writer)}{f' ({_cut(user)})' if user else ''}" if writer else ""
    match origin:
        case "package":
            return f"from package {package}"
        case "modified":
            return f"of package {package}, modified{written}"
        case "image":
            return f"from the image{f', package {package}' if package else ''}"
        case "dropped":
            return f"dropped{written}" if written else "from no package"
        case "memory":
            return "in memory, from no file"
    return ""


def has_failed(alert: Alert) -> bool | None:
    """Return whether the system call failed; None if it is unknown. A connection that is being made has not."""
    failed = text_of(alert, "evt.failed")
    return failed == "True" and text_of(alert, "evt.res") not in _HARMLESS if failed else None


def _cut(text: str) -> str:
    return text if len(text) <= MAX_PART else f"{text[: MAX_PART - 1]}…"


def _field(*names: str) -> Target:
    return lambda alert: next((found for name in names if (found := text_of(alert, name))), "")


def _opened(alert: Alert) -> str:
    kinds = [("reading", "evt.is_open_read"), ("writing", "evt.is_open_write")]
    modes = " and ".join(kind for kind, field in kinds if text_of(alert, field) == "True")
    return f"{_path(alert)} for {modes}" if modes else _path(alert)


def _pair(between: str) -> Target:
    def both(alert: Alert) -> str:
        source, target = text_of(alert, "fs.path.source"), text_of(alert, "fs.path.target")
        return f"{_cut(source)} {between} {_cut(target)}" if source and target else source or target or _path(alert)

    return both


def _end(address: str, port: str) -> Target:
    def end(alert: Alert) -> str:
        ip, number = text_of(alert, address), text_of(alert, port)
        if not ip:
            return text_of(alert, "fd.name")
        host = f"[{ip}]" if ":" in ip else ip
        known = text_of(alert, f"{address}.name")
        return (f"{host}:{number}" if number else host) + (f", looked up as {_cut(known)}" if known else "")

    return end


def _looked_up(alert: Alert) -> str:
    kind, code = text_of(alert, "dns.question.type"), text_of(alert, "dns.response_code")
    name = _cut(text_of(alert, "dns.question.name")) + (f" ({_cut(kind)})" if kind else "")
    found = text_of(alert, "dns.answers") or (NO_ADDRESS if code == NOERROR else code)
    return f"{name}: {_cut(found)}" if found else name


def _asked_for(alert: Alert) -> str:
    name, server = _cut(text_of(alert, "tls.client.server_name")), _server(alert)
    return f"{name} (TLS) at {server}" if server else f"{name} (TLS)"


_server = _end("fd.sip", "fd.sport")
_path = _field("fd.name", "fs.path.name")
_removed = _field("fs.path.name", "fd.name")
_any_target = _field("fd.name", "fs.path.name", "fs.path.target")
_command = _field("proc.cmdline", "proc.exepath", "proc.name")
_Verb = tuple[str, str, Target]


def _verbs(infinitive: str, past: str, target: Target, *events: str) -> dict[str, _Verb]:
    return dict.fromkeys(events, (infinitive, past, target))


_VERBS: Mapping[str, _Verb] = MappingProxyType({
    **_verbs("open", "opened", _opened, *FILE_OPENERS),
    **_verbs("run", "ran", _command, *EXECS),
    **_verbs("connect to", "connected to", _server, "connect"),
    **_verbs("accept a connection from", "accepted a connection from", _end("fd.cip", "fd.cport"), *ACCEPTS),
    **_verbs("remove", "removed", _removed, *REMOVES),
    **_verbs("rename", "renamed", _pair("to"), *RENAMES),
    **_verbs("link", "linked", _pair("as"), *LINKS, *SYMLINKS),
    **_verbs("change the mode of", "changed the mode of", _removed, *MODES),
    **_verbs("change the owner of", "changed the owner of", _removed, "chown", "fchown", "fchownat", "lchown"),
    **_verbs("create", "created", _removed, *CREATES),
    **_verbs("truncate", "truncated", _removed, *TRUNCATES),
    **_verbs("set the times of", "set the times of", _removed, *TIMES),
    **_verbs("change an attribute of", "changed an attribute of", _removed, *ATTRIBUTES, "file_setattr"),
    **_verbs("attach to a process by", "attached to a process by", lambda _: "ptrace", "ptrace"),
    **_verbs("load", "loaded", lambda _: "a kernel module", "init_module", "finit_module"),
    **_verbs("redirect a descriptor to", "redirected a descriptor to", _path, *DUPLICATES),
    **_verbs("set", "set", lambda _: "the clock", *CLOCKS),
    **_verbs("switch off swap on", "switched off swap on", _removed, "swapoff"),
    **_verbs("mount", "mounted", _any_target, "mount", "move_mount"),
})  # fmt: skip


def _verb(alert: Alert, event: str) -> _Verb:
    """Return what a process did; data that it sent or received means more than the call for it."""
    if text_of(alert, "dns.question.name"):
        return "look up", "looked up", _looked_up
    if text_of(alert, "tls.client.server_name"):
        return "ask for", "asked for", _asked_for
    return _VERBS.get(event, (f"call {event}", f"called {event}", _any_target))


_TIMES = frozenset(
    {
        *("evt.time", "evt.rawtime", "proc.pid.ts", "proc.ppid.ts", "proc.pidns_init_start_ts", "container.start_ts"),
        *("proc.exe.written_at", "proc.exe_ino.ctime", "proc.exe_ino.mtime"),
        *("correlation.first", "correlation.last"),
    }
)
"""Fields that are ns since the epoch in an alert."""
_OF_ORIGIN = ("origin", "package", "package.version", "written_by", "written_by.user")
_ORIGINS = (*(f"proc.exe.{name}" for name in _OF_ORIGIN), "proc.exe.written_at")
_NAMES = ("fd.sip.name", "fd.cip.name", "fd.rip.name")
_SOCKETS = ("ipv4", "ipv6", "unix")
_LEVELS = range(2, 9)
_ANCESTORS = ("proc.pname", *(f"proc.aname[{level}]" for level in _LEVELS))
_OF_ANCESTOR = (("pid", "apid"), ("name", "aname"), ("executable", "aexepath"), ("command_line", "acmdline"))
_OWN_TEXT = frozenset({"evt.time", "evt.time.iso8601", "evt.hostname"})
"""Fields that every message shows elsewhere."""
_REPEATS = frozenset({"repeats.count", "repeats.first", "repeats.last"})
"""What `suppress` adds for readers of Falco's JSON; the times are nanoseconds."""


def facts(alert: Alert) -> Iterator[tuple[str, str]]:
    """Yield label and value: what an analyst asks first, then the other fields that the rule's output names."""
    for label, source, _ in _FACTS:
        if text := source(alert):
            yield label, text
    if alert.window:
        yield "events", str(alert.window.count)
    if alert.repeats:
        first, last = (date_and_time_seconds(each, utc=True) for each in (alert.repeats.first, alert.repeats.last))
        yield "repeats", f"{alert.repeats.count}, from {first} to {last} UTC"
    for name, value in alert.output_fields.items():
        if name not in _SHOWN and name not in _REPEATS and (text := _shown(name, value)):
            yield name, text


def _shown(name: str, value: Value) -> str:
    if value is None or (name == "proc.tty" and value == 0):
        return ""
    if isinstance(value, int) and name.rpartition("].")[2] in _TIMES and 0 < value < MAX_CLOCK:
        return iso8601_zulu(value)
    return ", ".join(value) if isinstance(value, tuple) else str(value)


def _user(alert: Alert) -> str:
    name, uid = text_of(alert, "user.name"), text_of(alert, "user.uid")
    login, login_uid = text_of(alert, "user.loginname"), text_of(alert, "user.loginuid")
    parts = [f"{name} (uid {uid})" if name and uid else name or (uid and f"uid {uid}")]
    if login_uid not in ("", "-1", "4294967295") and login_uid != uid:
        parts.append(f"logged in as {login or f'uid {login_uid}'}")
    return ", ".join(filter(None, parts))


def _parents(alert: Alert) -> str:
    return " < ".join(filter(None, (text_of(alert, field) for field in _ANCESTORS)))


def _container(alert: Alert) -> str:
    if not is_in_container(alert):
        return ""
    name, number = text_of(alert, "container.name"), text_of(alert, "container.id")
    return f"{name} ({number})" if name and name != number else number


def _image(alert: Alert) -> str:
    repository, tag = text_of(alert, "container.image.repository"), text_of(alert, "container.image.tag")
    if not is_in_container(alert):
        return ""
    return f"{repository}:{tag}" if repository and tag else repository or text_of(alert, "container.image")


def _pod(alert: Alert) -> str:
    pod, namespace = text_of(alert, "k8s.pod.name"), text_of(alert, "k8s.ns.name")
    return f"{namespace}/{pod}" if pod and namespace else pod


def _file(alert: Alert) -> str:
    if text_of(alert, "fd.type") in _SOCKETS or text_of(alert, "evt.type") in EXECS:
        return ""
    source, target = text_of(alert, "fs.path.source"), text_of(alert, "fs.path.target")
    if source and target:
        return f"{source} -> {target}"
    found = text_of(alert, "fd.name") or text_of(alert, "fs.path.name") or source or target
    real = text_of(alert, "fd.realpath")
    return f"{found} (real path {real})" if found and real and real != found else found or real


def _connection(alert: Alert) -> str:
    ends = text_of(alert, "fd.name") if text_of(alert, "fd.type") in _SOCKETS else ""
    name = next(filter(None, (text_of(alert, field) for field in _NAMES)), "")
    return f"{ends}, looked up as {name}" if ends and name else ends or name


def _name(alert: Alert) -> str:
    return _looked_up(alert) if text_of(alert, "dns.question.name") else ""


def _indicator(alert: Alert) -> str:
    name, where, source, described = (text_of(alert, f"indicator.{part}") for part in _OF_INDICATOR)
    if not name:
        return ""
    found = f"{name} in {where} ({source})" if source else f"{name} in {where}"
    return f"{found}: {described}" if described else found


_OF_INDICATOR = ("name", "list", "source", "description")
_FACTS: tuple[tuple[str, Callable[[Alert], str], tuple[str, ...]], ...] = (
    ("indicator", _indicator, ("indicator.kind", *(f"indicator.{part}" for part in _OF_INDICATOR))),
    ("command", _field("proc.cmdline"), ("proc.cmdline", "proc.name", "evt.type", "evt.res")),
    ("origin", program, _ORIGINS),
    ("user", _user, ("user.name", "user.uid", "user.loginuid", "user.loginname")),
    ("parents", _parents, _ANCESTORS),
    ("image", _image, ("container.image.repository", "container.image.tag", "container.image")),
    ("container", _container, ("container.id", "container.name")),
    ("pod", _pod, ("k8s.pod.name", "k8s.ns.name")),
    ("file", _file, ("fs.path.name", "fs.path.source", "fs.path.target", "fd.realpath")),
    ("connection", _connection, ("fd.name", "fd.type", *_NAMES)),
    ("looked up", _name, ("dns.question.name", "dns.question.type", "dns.response_code", "dns.answers")),
    ("TLS server", _field("tls.client.server_name"), ("tls.client.server_name",)),
    ("program", _field("proc.exepath"), ("proc.exepath",)),
    ("pid", _field("proc.pid"), ("proc.pid",)),
    ("SHA-256", _field("proc.exe.sha256"), ("proc.exe.sha256",)),
)
"""Label, what gives its value, and the fields that it stands for."""
_SHOWN = frozenset(name for *_, names in _FACTS for name in names) | _OWN_TEXT
FIELDS = tuple(sorted(_SHOWN | ACTION_FIELDS))
"""The fields of the event that `facts`, `action` and `where` read."""


def remarks(alert: Alert) -> str:
    """Return what is known of the program and of names, for texts that have an output and no facts.

    A field that the rule's output names is left out; a text in it proves nothing, as a host chooses commands.
    """
    origin, name = program(alert), next((field for field in _NAMES if text_of(alert, field)), "")
    server = _cut(text_of(alert, "tls.client.server_name"))
    parts = (
        ("proc.exe.origin", f"program {origin}" if origin else ""),
        (name, f"address looked up as {_cut(text_of(alert, name))}" if name else ""),
        ("dns.question.name", f"looked up {_looked_up(alert)}" if text_of(alert, "dns.question.name") else ""),
        ("tls.client.server_name", f"asked for {server} (TLS)" if server else ""),
    )
    return "; ".join(text for field, text in parts if text and field not in alert.output_fields)


def entity_id(alert: Alert, pid_field: str = "proc.pid", start_field: str = "proc.pid.ts") -> str | None:
    """Return a hash of host, pid and start time; None if one of them is unknown."""
    pid, start = alert.event.get(pid_field), alert.event.get(start_field)
    if pid is None or start is None:
        return None
    return blake2b(f"{alert.host_id or alert.hostname}\x1f{pid}\x1f{start}".encode(), digest_size=12).hexdigest()


def ancestors(alert: Alert) -> Iterator[Mapping[str, Value]]:
    """Yield the ancestors above the parent, the nearest first, by the names that ECS has for a process."""
    for level in _LEVELS:
        fields = {name: alert.event.get(f"proc.{field}[{level}]") for name, field in _OF_ANCESTOR}
        if known := {name: value for name, value in fields.items() if value is not None}:
            yield known
