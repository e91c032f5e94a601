"""Who did what to what: one phrase for an alert, such as `cat (root) opened /etc/shadow`.

The values are a host's own and not escaped; whoever prints the phrase does that.
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType

from schemas.alert import Alert, Value
from schemas.catalogue.sources import K8S_AUDIT, SOURCES, SYSCALL

MAX_PART = 300
"""Characters of a file name or command in the phrase."""
Target = Callable[[Alert], str]
ACTION_FIELDS = frozenset(
    {
        *("evt.type", "evt.res", "evt.failed", "evt.is_open_read", "evt.is_open_write"),
        *("proc.name", "proc.pname", "proc.cmdline", "proc.exepath", "user.name", "user.uid"),
        *("fd.name", "fd.type", "fd.sip", "fd.sport", "fd.cip", "fd.cport"),
        *("fs.path.name", "fs.path.source", "fs.path.target"),
        *("container.id", "container.name", "k8s.pod.name", "k8s.ns.name"),
    }
)
"""The fields that this module reads."""
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
    pod, namespace = text_of(alert, "k8s.pod.name"), text_of(alert, "k8s.ns.name")
    inside = f"{namespace}/{pod}" if pod and namespace else pod
    if not inside and is_in_container(alert):
        inside = text_of(alert, "container.name") or text_of(alert, "container.id")
    host = alert.hostname or "an unknown host"
    return f"in {_cut(inside)} on {host}" if inside else f"on {host}"


def action(alert: Alert) -> str:
    """Return the phrase; the rule's output if the alert does not name a process."""
    process, event = text_of(alert, "proc.name"), _cut(text_of(alert, "evt.type"))
    if not process or not event or alert.repeats:
        return alert.output
    infinitive, past, target = _VERBS.get(event, (f"call {event}", f"called {event}", _any_target))
    if event in EXECS:
        # The process is the new program already; the one that ran it is its parent.
        process = text_of(alert, "proc.pname") or process
    user = text_of(alert, "user.name") or text_of(alert, "user.uid")
    who = f"{_cut(process)} ({_cut(user)})" if user else _cut(process)
    result = text_of(alert, "evt.res")
    failed = text_of(alert, "evt.failed") == "True" and result not in _HARMLESS
    phrase = " ".join(filter(None, (who, f"failed to {infinitive}" if failed else past, _cut(target(alert)))))
    return f"{phrase} ({_cut(result)})" if failed and result else phrase


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
        return f"{host}:{number}" if number else host

    return end


_path = _field("fd.name", "fs.path.name")
_removed = _field("fs.path.name", "fd.name")
_any_target = _field("fd.name", "fs.path.name", "fs.path.target")
_command = _field("proc.cmdline", "proc.exepath", "proc.name")
EXECS = ("execve", "execveat")
_Verb = tuple[str, str, Target]


def _verbs(infinitive: str, past: str, target: Target, *events: str) -> dict[str, _Verb]:
    return dict.fromkeys(events, (infinitive, past, target))


_VERBS: Mapping[str, _Verb] = MappingProxyType({
    **_verbs("open", "opened", _opened, "open", "openat", "openat2", "open_by_handle_at", "creat"),
    **_verbs("run", "ran", _command, *EXECS),
    **_verbs("connect to", "connected to", _end("fd.sip", "fd.sport"), "connect"),
    **_verbs("accept a connection from", "accepted a connection from", _end("fd.cip", "fd.cport"), "accept", "accept4"),
    **_verbs("remove", "removed", _removed, "unlink", "unlinkat", "rmdir"),
    **_verbs("rename", "renamed", _pair("to"), "rename", "renameat", "renameat2"),
    **_verbs("link", "linked", _pair("as"), "link", "linkat", "symlink", "symlinkat"),
    **_verbs("change the mode of", "changed the mode of", _removed, "chmod", "fchmod", "fchmodat", "fchmodat2"),
    **_verbs("change the owner of", "changed the owner of", _removed, "chown", "fchown", "fchownat", "lchown"),
    **_verbs("create", "created", _removed, "mkdir", "mkdirat", "mknod", "mknodat"),
    **_verbs("truncate", "truncated", _removed, "truncate", "ftruncate"),
    **_verbs("change an attribute of", "changed an attribute of", _removed, "setxattr", "lsetxattr", "fsetxattr"),
    **_verbs("attach to a process by", "attached to a process by", lambda _: "ptrace", "ptrace"),
    **_verbs("load", "loaded", lambda _: "a kernel module", "init_module", "finit_module"),
    **_verbs("redirect a descriptor to", "redirected a descriptor to", _path, "dup", "dup2", "dup3"),
    **_verbs("mount", "mounted", _any_target, "mount", "move_mount"),
})  # fmt: skip
