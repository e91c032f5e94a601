"""The facts of an alert in the order in which people need them; only those that have values.

The values are a host's own and not escaped; whoever prints them does that.
"""

from collections.abc import Callable, Iterator

from notifier.formats.action import ACTION_FIELDS, EXECS, is_in_container, text_of
from schemas.alert import Alert, Value

_SOCKETS = ("ipv4", "ipv6", "unix")
_LEVELS = range(2, 9)
_ANCESTORS = ("proc.pname", *(f"proc.aname[{level}]" for level in _LEVELS))
_OWN_TEXT = frozenset({"evt.time", "evt.time.iso8601", "evt.hostname"})
"""Fields that every message shows elsewhere."""


def facts(alert: Alert) -> Iterator[tuple[str, str]]:
    """Yield label and value: what an analyst asks first, then the other fields that the rule's output names."""
    for label, source, _ in _FACTS:
        if text := source(alert):
            yield label, text
    if alert.window:
        yield "events", str(alert.window.count)
    for name, value in alert.output_fields.items():
        if name not in _SHOWN and (text := _shown(name, value)):
            yield name, text


def _shown(name: str, value: Value) -> str:
    if value is None or (name == "proc.tty" and value == 0):
        return ""
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
    return text_of(alert, "fd.name") if text_of(alert, "fd.type") in _SOCKETS else ""


def _field(name: str) -> Callable[[Alert], str]:
    return lambda alert: text_of(alert, name)


_FACTS: tuple[tuple[str, Callable[[Alert], str], tuple[str, ...]], ...] = (
    ("command", _field("proc.cmdline"), ("proc.cmdline", "proc.name", "evt.type", "evt.res")),
    ("user", _user, ("user.name", "user.uid", "user.loginuid", "user.loginname")),
    ("parents", _parents, _ANCESTORS),
    ("image", _image, ("container.image.repository", "container.image.tag", "container.image")),
    ("container", _container, ("container.id", "container.name")),
    ("pod", _pod, ("k8s.pod.name", "k8s.ns.name")),
    ("file", _file, ("fs.path.name", "fs.path.source", "fs.path.target", "fd.realpath")),
    ("connection", _connection, ("fd.name", "fd.type")),
    ("program", _field("proc.exepath"), ("proc.exepath",)),
    ("pid", _field("proc.pid"), ("proc.pid",)),
)
"""Label, what gives its value, and the fields that it stands for."""
_SHOWN = frozenset(name for *_, names in _FACTS for name in names) | _OWN_TEXT
FIELDS = tuple(sorted(_SHOWN | ACTION_FIELDS))
"""The fields of the event that `facts`, `action` and `where` read."""
