"""The event of an alert in words: what happened, where, and where a program, script or file comes from.

The values are a host's own and not escaped; whoever prints them does that.
"""

from collections.abc import Callable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from types import MappingProxyType

from foundation.quantities import seconds_text
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

_Verb = tuple[str, str, Target]
SERVER_NAMES = ("fd.sip.name", "fd.cip.name", "fd.rip.name")
"""The fields of the other end's name, the first that has a value counts."""
_OF_ORIGIN = ("origin", "package", "package.version", "written_by", "written_by.user")


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
    inside = pod_of(alert)
    if not inside and is_in_container(alert):
        inside = text_of(alert, "container.name") or text_of(alert, "container.id")
    host = alert.hostname or "an unknown host"
    return f"in {cut(inside)} on {host}" if inside else f"on {host}"


def sentence(alert: Alert) -> str:
    """Return what happened, and where."""
    return f"{action(alert)}, {where(alert)}"


def action(alert: Alert) -> str:
    """Return the phrase; the rule's output if the alert does not name a process."""
    process, event = text_of(alert, "proc.name"), cut(text_of(alert, "evt.type"))
    if not process or not event or alert.repeats:
        return alert.output
    infinitive, past, target = _verb(alert, event)
    if event in EXECS:
        # The process is the new program already; the one that ran it is its parent.
        process = text_of(alert, "proc.pname") or process
    user = text_of(alert, "user.name") or text_of(alert, "user.uid")
    who = f"{cut(process)} ({cut(user)})" if user else cut(process)
    result, failed = text_of(alert, "evt.res"), has_failed(alert)
    phrase = " ".join(filter(None, (who, f"failed to {infinitive}" if failed else past, cut(target(alert)))))
    return f"{phrase} ({cut(result)})" if failed and result else phrase


def pod_of(alert: Alert) -> str:
    """Return the pod with its namespace; empty outside of pods."""
    pod, namespace = text_of(alert, "k8s.pod.name"), text_of(alert, "k8s.ns.name")
    return f"{namespace}/{pod}" if pod and namespace else pod


def has_failed(alert: Alert) -> bool | None:
    """Return whether the system call failed; None if it is unknown. A connection that is being made has not."""
    failed = text_of(alert, "evt.failed")
    return failed == "True" and text_of(alert, "evt.res") not in _HARMLESS if failed else None


def cut(text: str) -> str:
    """Return a text of limited length."""
    return text if len(text) <= MAX_PART else f"{text[: MAX_PART - 1]}…"


def field(*names: str) -> Target:
    """Return a function that returns the first of some fields that has a value."""
    return lambda alert: next((found for name in names if (found := text_of(alert, name))), "")


def _opened(alert: Alert) -> str:
    kinds = [("reading", "evt.is_open_read"), ("writing", "evt.is_open_write")]
    modes = " and ".join(kind for kind, name in kinds if text_of(alert, name) == "True")
    return f"{_path(alert)} for {modes}" if modes else _path(alert)


def _pair(between: str) -> Target:
    def both(alert: Alert) -> str:
        source, target = text_of(alert, "fs.path.source"), text_of(alert, "fs.path.target")
        return f"{cut(source)} {between} {cut(target)}" if source and target else source or target or _path(alert)

    return both


def _end(address: str, port: str) -> Target:
    def end(alert: Alert) -> str:
        ip, number = text_of(alert, address), text_of(alert, port)
        if not ip:
            return text_of(alert, "fd.name")
        host = f"[{ip}]" if ":" in ip else ip
        known = text_of(alert, f"{address}.name")
        return (f"{host}:{number}" if number else host) + (f", looked up as {cut(known)}" if known else "")

    return end


def looked_up(alert: Alert) -> str:
    """Return the name in an answer of a name server, and what was found."""
    kind, code = text_of(alert, "dns.question.type"), text_of(alert, "dns.response_code")
    name = cut(text_of(alert, "dns.question.name")) + (f" ({cut(kind)})" if kind else "")
    found = text_of(alert, "dns.answers") or (NO_ADDRESS if code == NOERROR else code)
    return f"{name}: {cut(found)}" if found else name


def _asked_for(alert: Alert) -> str:
    name, server = cut(text_of(alert, "tls.client.server_name")), _server(alert)
    # Another name than the one that was looked up is worth a look; the same one isn't repeated.
    server = server.removesuffix(f", looked up as {name}")
    return f"{name} (TLS) at {server}" if server else f"{name} (TLS)"


_server = _end("fd.sip", "fd.sport")
_path = field("fd.name", "fs.path.name")
_removed = field("fs.path.name", "fd.name")
_any_target = field("fd.name", "fs.path.name", "fs.path.target")
_command = field("proc.cmdline", "proc.exepath", "proc.name")


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
        return "look up", "looked up", looked_up
    if text_of(alert, "tls.client.server_name"):
        return "ask for", "asked for", _asked_for
    return _VERBS.get(event, (f"call {event}", f"called {event}", _any_target))


def origin_fields(of: str) -> tuple[str, ...]:
    """Return the fields that state where `proc.exe`, `proc.script` or `fd.file` comes from."""
    return (*(f"{of}.{name}" for name in _OF_ORIGIN), f"{of}.written_at")


def program(alert: Alert) -> str:
    """Return where the program comes from, and what became of it since; empty if that is unknown."""
    return _origin(alert, "proc.exe")


def script(alert: Alert) -> str:
    """Return the path of the script that the program runs, and where it comes from; empty if there is none."""
    return " ".join(filter(None, (cut(text_of(alert, "proc.script.path")), _origin(alert, "proc.script"))))


def file(alert: Alert) -> str:
    """Return where the file of code comes from that the event is about; empty if that is unknown."""
    return _origin(alert, "fd.file")


def _origin(alert: Alert, of: str) -> str:
    origin, package, version, writer, user = (text_of(alert, f"{of}.{name}") for name in _OF_ORIGIN)
    at = alert.event.get(f"{of}.written_at")
    when = f" {seconds_text(max(0, alert.time - at) / 1e9)} ago" if isinstance(at, int) else ""
    return origin_text(origin, package_text(package, version), writer, user, when)


def package_text(name: str | None, version: str | None) -> str:
    """Return a package with its version, as far as they are known."""
    return cut(" ".join(filter(None, (name, version))))


def origin_text(origin: str | None, package: str, writer: str | None, user: str | None, when: str) -> str:
    """Return where a program comes from, to follow the word "program"; empty if that is unknown.

    Args:
        origin: as `proc.exe.origin` has it.
        package: that lists it.
        writer: name of the process that wrote it.
        user: of that process.
        when: it did so, after a blank.
    """
    written = f"{when} by {cut(writer)}{f' ({cut(user)})' if user else ''}" if writer else ""
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


def origins(alert: Alert) -> str:
    """Return where the program, its script and the file come from; empty if that is unknown."""
    return "; ".join(_origins(alert, frozenset()))


def remarks(alert: Alert) -> str:
    """Return what is known of the program and of names, for texts that have an output and no facts.

    A field that the rule's output names is left out; a text in it proves nothing, as a host chooses commands.
    """
    name = next((each for each in SERVER_NAMES if text_of(alert, each)), "")
    known, server = cut(text_of(alert, name)), cut(text_of(alert, "tls.client.server_name"))
    parts = (
        (name, f"address looked up as {known}" if known and known != server else ""),
        ("dns.question.name", f"looked up {looked_up(alert)}" if text_of(alert, "dns.question.name") else ""),
        ("tls.client.server_name", f"asked for {server} (TLS)" if server else ""),
    )
    names = [text for field, text in parts if text and field not in alert.output_fields]
    return "; ".join((*_origins(alert, alert.output_fields.keys()), *names))


def _origins(alert: Alert, stated: AbstractSet[str]) -> Iterator[str]:
    for word, of, read in (
        ("program", "proc.exe", program),
        ("script", "proc.script", script),
        ("file", "fd.file", file),
    ):
        if (text := read(alert)) and f"{of}.origin" not in stated:
            yield f"{word} {text}"
