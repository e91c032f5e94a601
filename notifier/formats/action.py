"""What happened in an alert, in one phrase, and where.

The values are a host's own and not escaped; whoever prints them does that.
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType

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
        return "look up", "looked up", looked_up
    if text_of(alert, "tls.client.server_name"):
        return "ask for", "asked for", _asked_for
    return _VERBS.get(event, (f"call {event}", f"called {event}", _any_target))
