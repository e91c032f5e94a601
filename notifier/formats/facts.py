"""The facts of an alert in the order in which people need them; only those that have values.

The values are a host's own and not escaped; whoever prints them does that.
"""

from collections.abc import Callable, Iterator, Mapping
from hashlib import blake2b

from foundation.quantities import date_and_time_seconds, iso8601_zulu
from notifier.formats.phrases import (
    ACTION_FIELDS,
    SERVER_NAMES,
    field,
    file,
    is_in_container,
    looked_up,
    origin_fields,
    package_text,
    pod_of,
    program,
    script,
    text_of,
)
from schemas.alert import PLANNED, Alert, Value
from schemas.catalog.system_calls import EXECS
from schemas.encoding.limits import MAX_CLOCK

_TIMES = frozenset(
    {
        *("evt.time", "evt.rawtime", "proc.pid.ts", "proc.ppid.ts", "proc.pidns_init_start_ts", "container.start_ts"),
        *("proc.exe.written_at", "proc.exe_ino.ctime", "proc.exe_ino.mtime"),
        *("correlation.first", "correlation.last", "proc.exe.first_seen"),
    }
)
"""Fields that are ns since the epoch in an alert."""
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
    return " < ".join(filter(None, (text_of(alert, each) for each in _ANCESTORS)))


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
    name = next(filter(None, (text_of(alert, each) for each in SERVER_NAMES)), "")
    return f"{ends}, looked up as {name}" if ends and name else ends or name


def _name(alert: Alert) -> str:
    return looked_up(alert) if text_of(alert, "dns.question.name") else ""


def _indicator(alert: Alert) -> str:
    name, where, source, described, later = (text_of(alert, f"indicator.{part}") for part in _OF_INDICATOR)
    if not name:
        return ""
    found = f"{name} in {where} ({source})" if source else f"{name} in {where}"
    found = f"{found}: {described}" if described else found
    return f"{found}; found later, at {later}, in stored events" if later else found


def _actions(alert: Alert) -> str:
    planned = alert.output_fields.get(PLANNED)
    return "; ".join(planned) if isinstance(planned, tuple) else ""


def _came_through(alert: Alert) -> str:
    name, package, version = (text_of(alert, f"proc.server.{part}") for part in ("name", "package", "package.version"))
    if not name:
        return ""
    listening, of_package = text_of(alert, "proc.server.listening"), package_text(package, version)
    return f"{name}{f' (package {of_package})' if of_package else ''}, listens on {listening}"


_OF_INDICATOR = ("name", "list", "source", "description", "found_later")
_FACTS: tuple[tuple[str, Callable[[Alert], str], tuple[str, ...]], ...] = (
    ("indicator", _indicator, ("indicator.kind", *(f"indicator.{part}" for part in _OF_INDICATOR))),
    ("actions", _actions, (PLANNED,)),
    ("command", field("proc.cmdline"), ("proc.cmdline", "proc.name", "evt.type", "evt.res")),
    ("origin", program, origin_fields("proc.exe")),
    ("script", script, ("proc.script.path", *origin_fields("proc.script"))),
    ("user", _user, ("user.name", "user.uid", "user.loginuid", "user.loginname")),
    ("parents", _parents, _ANCESTORS),
    ("server", _came_through, ()),
    ("image", _image, ("container.image.repository", "container.image.tag", "container.image")),
    ("container", _container, ("container.id", "container.name")),
    ("pod", pod_of, ("k8s.pod.name", "k8s.ns.name")),
    ("file", _file, ("fs.path.name", "fs.path.source", "fs.path.target", "fd.realpath")),
    ("file's origin", file, origin_fields("fd.file")),
    ("connection", _connection, ("fd.name", "fd.type", *SERVER_NAMES)),
    ("looked up", _name, ("dns.question.name", "dns.question.type", "dns.response_code", "dns.answers")),
    ("TLS server", field("tls.client.server_name"), ("tls.client.server_name",)),
    ("program", field("proc.exepath"), ("proc.exepath",)),
    ("pid", field("proc.pid"), ("proc.pid",)),
    ("SHA-256", field("proc.exe.sha256"), ("proc.exe.sha256",)),
    ("script's SHA-256", field("proc.script.sha256"), ("proc.script.sha256",)),
    ("file's SHA-256", field("fd.file.sha256"), ("fd.file.sha256",)),
)
"""Label, what gives its value, and the fields that it stands for."""
_SHOWN = frozenset(name for *_, names in _FACTS for name in names) | _OWN_TEXT
FIELDS = tuple(sorted(_SHOWN | ACTION_FIELDS))
"""The fields of the event that `facts`, `action` and `where` read."""


def entity_id(alert: Alert, pid_field: str = "proc.pid", start_field: str = "proc.pid.ts") -> str | None:
    """Return a hash of host, pid and start time; None if one of them is unknown."""
    pid, start = alert.event.get(pid_field), alert.event.get(start_field)
    if pid is None or start is None:
        return None
    return blake2b(f"{alert.host_id or alert.hostname}\x1f{pid}\x1f{start}".encode(), digest_size=12).hexdigest()


def ancestors(alert: Alert) -> Iterator[Mapping[str, Value]]:
    """Yield the ancestors above the parent, the nearest first, by the names that ECS has for a process."""
    for level in _LEVELS:
        fields = {name: alert.event.get(f"proc.{own}[{level}]") for name, own in _OF_ANCESTOR}
        if known := {name: value for name, value in fields.items() if value is not None}:
            yield known
