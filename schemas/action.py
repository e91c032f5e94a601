"""Actions: what may be done to what, and the records that request, decide and report them.

The records are JSON, so that any tool can show them. All of it may come from an attacker, so sizes and values are
checked here. A record counts only with the signature of somebody who may write it; `bus.actions` checks that.
"""

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from typing import Any, Literal, TypeVar, get_args, get_type_hints

from foundation.errors import LannerError
from foundation.quantities import duration_text
from foundation.text import is_like

ActionType = Literal["kill", "freeze", "isolate", "quarantine", "lock", "collect", "label", "cordon", "evict"]
HostActionType = Literal["kill", "freeze", "isolate", "quarantine", "lock", "collect"]
"""Those that hosts do."""
ClusterActionType = Literal["isolate", "label", "cordon", "evict"]
"""Those that `lanner kubernetes` does by the Kubernetes API."""
TargetType = Literal["process", "session", "container", "host", "program", "file", "user", "pod", "node"]
ActionState = Literal["would", "ask", "do"]
DecisionType = Literal["approve", "reject", "undo", "extend", "stop", "resume", "reset"]
_CLUSTER_TARGETS: tuple[TargetType, ...] = ("pod", "node")
Outcome = Literal["received", "done", "gone", "refused", "failed", "extended", "undone", "ended"]

ACTION_TAKEN = "Lanner internal: action"
"""The rule of alerts about what was done."""
DEFAULT_LEASE = 900_000_000_000
"""How long an action lasts that ends by itself, ns."""
MAX_LEASE = 7 * 86_400_000_000_000
MAX_RECORD_BYTES = 16 << 10
_MAX_TEXT = 4096
_LATEST = 4_102_444_800_000_000_000
"""The year 2100, ns."""
HOST_PROGRAMS = (
    *("/usr/lib/systemd/*", "/usr/sbin/init", "/sbin/init", "/usr/sbin/sshd", "/usr/lib/openssh/*", "/usr/bin/dbus-*"),
    *("/usr/bin/kubelet", "/usr/local/bin/kubelet", "/usr/bin/containerd*", "/usr/sbin/containerd*", "/usr/bin/conmon"),
    *("/usr/bin/dockerd", "/usr/sbin/dockerd", "/usr/bin/crio", "/usr/local/bin/crio", "/usr/local/bin/containerd*"),
    *("/opt/lanner/*", "/usr/lib/lanner/*", "/usr/bin/lanner"),
)
"""Programs of the host that it needs in order to be reached, to run containers, and to watch itself. Only paths count,
outside of containers: anybody can name a process sshd."""
HOST_FILES = ("/boot/*", "/usr/lib/x86_64-linux-gnu/*", "/usr/lib/aarch64-linux-gnu/*", "/lib64/*", "/usr/lib64/*")
"""Files without which no program starts."""


CLUSTER_NAMESPACES = ("kube-system", "kube-public", "kube-node-lease")
"""Kubernetes' own namespaces: without their pods, no cluster works."""
_KUBERNETES_NAME = re.compile(r"[a-z0-9](?:[a-z0-9.-]{0,251}[a-z0-9])?")
"""Also of namespaces and nodes, and safe in a path. Source: RFC 1123, as Kubernetes' names and ids state."""
_UID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")


class BadActionRecord(LannerError, ValueError):
    """The bytes are not a record of an action, or a value in it is out of range."""


@dataclass(frozen=True, slots=True)
class ActionKind:
    """The facts about one type of action."""

    targets: tuple[TargetType, ...]
    """What it can be done to, the most likely first."""
    done: str
    """The past participle of its name."""
    undo: str
    """The verb of what undoes it; empty if nothing does."""
    has_lease: bool
    """True if it ends by itself unless somebody extends it."""


ACTION_KINDS: Mapping[ActionType, ActionKind] = {
    "kill": ActionKind(("process", "session"), "killed", "", has_lease=False),
    "freeze": ActionKind(("container",), "frozen", "thaw", has_lease=True),
    "isolate": ActionKind(("container", "host", "pod"), "isolated", "release", has_lease=True),
    "quarantine": ActionKind(("program", "file"), "quarantined", "restore", has_lease=False),
    "lock": ActionKind(("user",), "locked", "unlock", has_lease=True),
    "collect": ActionKind(("process", "container", "host"), "collected", "", has_lease=False),
    "label": ActionKind(("pod",), "labeled", "unlabel", has_lease=True),
    "cordon": ActionKind(("node",), "cordoned", "uncordon", has_lease=True),
    "evict": ActionKind(("pod",), "evicted", "", has_lease=False),
}


@dataclass(frozen=True, slots=True)
class ActionIntent:
    """What is to be done to one target on one host, because of an alert or by a person."""

    id: str
    """Derived from the alert and the policy, so that an intent that is sent twice is done once."""
    type: ActionType
    target: TargetType
    host_id: str
    hostname: str
    state: ActionState
    text: str
    """The target, for people; it may contain what an attacker wrote."""
    created: int
    """When the alert was evaluated, or when the person requested it, ns since the epoch. A claim."""
    policy: str = ""
    """Empty for what a person requests."""
    refusal: str = ""
    """Why it isn't done; empty if it is, or would be."""
    lease: int = 0
    """Nanoseconds; 0 for what doesn't end by itself."""
    wait: int = DEFAULT_LEASE
    """How long after the broker stored it, it may be approved or begun, ns."""
    approvals: int = 0
    """How many persons have to approve it."""
    container_id: str = ""
    """The full id of the target, or of the container that the target is in; empty on the host."""
    pid: int = 0
    start_time: int = 0
    """When the process, or the session's leader, started, ns since the epoch, as in events."""
    path: str = ""
    """The path of the file or program, as the processes of the container see it."""
    user: str = ""
    uid: int = -1
    by: str = ""
    """The processor or the person who requests it."""
    alert: str = ""
    """Id of the alert."""
    rule: str = ""
    rules_version: str = ""
    workload: str = ""
    """What its container is a replica of; empty for none."""
    cluster: str = ""
    """Name of the Kubernetes cluster; empty if none is configured."""
    namespace: str = ""
    """The pod's."""
    pod: str = ""
    """Its name."""
    pod_uid: str = ""
    node: str = ""
    """Name of the node, in Kubernetes."""

    @property
    def is_for_cluster(self) -> bool:
        """True if `lanner kubernetes` does it, and no host."""
        return self.target in _CLUSTER_TARGETS

    @property
    def summary(self) -> str:
        """What it does, for people."""
        return f"{self.type} {self.text}" + (f" for {duration_text(self.lease)}" if self.lease else "")


def person_of(by: str) -> str:
    """Return who decided or requested something, without the machine."""
    return by.partition("@")[0].partition(" (as ")[0].strip().casefold()


def is_agreed(intent: ActionIntent, persons: Iterable[str], least: int = 0) -> bool:
    """Return whether enough persons agree to an intent, with whoever requests it by hand. least: their number."""
    agreeing = {*persons, *((person_of(intent.by),) if intent.by and not intent.policy else ())}
    return len(agreeing) >= max(intent.approvals, intent.state == "ask", least)


@dataclass(frozen=True, slots=True)
class ActionDecision:
    """What a person decided about an intent, a policy's fuse, or all actions."""

    id: str
    type: DecisionType
    subject: str
    """An intent's id; a policy's name for `reset`; empty for `stop` and `resume`, which are about all hosts."""
    by: str
    at: int
    """Wall clock of the person's machine, ns since the epoch. A claim."""
    lease: int = 0
    """How long an extended action lasts from now on, ns."""
    comment: str = ""

    @property
    def person(self) -> str:
        """Who decided, without the machine: a person counts once, wherever they decide."""
        return person_of(self.by)


@dataclass(frozen=True, slots=True)
class ActionResult:
    """What a host did about an intent."""

    intent: str
    host_id: str
    hostname: str
    outcome: Outcome
    text: str
    """What was done, or why it wasn't."""
    at: int
    """Wall clock of the host, ns since the epoch. A claim."""
    ends: int = 0
    """When it ends by itself; 0 if it doesn't."""
    by: str = ""
    """Who decided it, if a person did."""


_Record = TypeVar("_Record", ActionIntent, ActionDecision, ActionResult)
_HINTS: dict[type[Any], dict[str, Any]] = {
    each: get_type_hints(each) for each in (ActionIntent, ActionDecision, ActionResult)
}


def encode_action_record(record: ActionIntent | ActionDecision | ActionResult) -> bytes:
    """Encode a record. Raises BadActionRecord if no reader would accept it."""
    row = {each.name: getattr(record, each.name) for each in fields(record)}
    data = json.dumps(row, separators=(",", ":")).encode()
    kind: Any = type(record)
    decode_action_record(data, kind)
    return data


def decode_action_record(data: bytes, kind: type[_Record]) -> _Record:
    """Decode and check a record of one kind. Raises BadActionRecord."""
    if len(data) > MAX_RECORD_BYTES:
        raise BadActionRecord(f"{len(data)} bytes; {MAX_RECORD_BYTES} are allowed")
    try:
        row = json.loads(data)
    except (ValueError, RecursionError):
        raise BadActionRecord("not JSON") from None
    if not isinstance(row, dict):
        raise BadActionRecord("not a JSON object")
    # A later release may add fields.
    found: Any = {name: _checked(name, row[name], hint) for name, hint in _HINTS[kind].items() if name in row}
    try:
        record = kind(**found)
    except TypeError:
        missing = ", ".join(name for name in _HINTS[kind] if name not in row)
        raise BadActionRecord(f"some fields are missing, of {missing}") from None
    if isinstance(record, ActionIntent):
        _check_intent(record)
    return record


def _checked(name: str, value: Any, hint: Any) -> Any:
    if hint is int:
        if type(value) is not int or not -1 <= value < _LATEST:
            raise BadActionRecord(f"{name} is not a number in its range")
    elif not isinstance(value, str) or len(value) > _MAX_TEXT or "\0" in value:
        raise BadActionRecord(f"{name} is not a text of at most {_MAX_TEXT} characters")
    elif (choices := get_args(hint)) and value not in choices:
        raise BadActionRecord(f"{name} is none of {', '.join(choices)}")
    return value


def _check_intent(intent: ActionIntent) -> None:
    kind = ACTION_KINDS[intent.type]
    if intent.target not in kind.targets:
        raise BadActionRecord(f"a {intent.target} can't be {kind.done}")
    if not intent.id or not intent.host_id:
        raise BadActionRecord("id or host_id is empty")
    if not (0 < intent.lease <= MAX_LEASE if kind.has_lease else intent.lease == 0):
        raise BadActionRecord("lease is out of range")
    if intent.refusal:
        return
    named = {
        "process": intent.pid > 0 and intent.start_time > 0,
        "session": intent.pid > 0 and intent.start_time > 0,
        "container": bool(intent.container_id),
        "host": True,
        "program": intent.path.startswith("/"),
        "file": intent.path.startswith("/"),
        "user": bool(intent.user) and intent.uid >= 0,
        "pod": all(map(_KUBERNETES_NAME.fullmatch, (intent.namespace, intent.pod))) and _is_uid(intent.pod_uid),
        "node": _KUBERNETES_NAME.fullmatch(intent.node) is not None,
    }
    if not named[intent.target]:
        raise BadActionRecord(f"it doesn't identify the {intent.target}")


def _is_uid(text: str) -> bool:
    return _UID.fullmatch(text) is not None


def why_protected(intent: ActionIntent, program: str) -> str:
    """Return why nobody should act on a target, whoever requests it; empty if there is no reason.

    Args:
        intent: the action.
        program: path of the program that the target runs; empty if it is none or unknown.
    """
    target, is_on_host = intent.target, not intent.container_id
    if target in ("process", "session") and intent.pid in (0, 1, 2):
        return "it is the first process of the host"
    if target in ("process", "program") and is_on_host and _is_among(program, HOST_PROGRAMS):
        return f"the host needs {program}"
    if target in ("file", "program") and is_on_host and _is_among(intent.path, (*HOST_PROGRAMS, *HOST_FILES)):
        return f"the host needs {intent.path}"
    if target == "pod" and intent.namespace in CLUSTER_NAMESPACES:
        return f"the cluster needs the pods of {intent.namespace}"
    if target == "pod" and not _is_uid(intent.pod_uid):
        return "the node's kubelet runs this static pod by itself"
    if target == "user" and intent.uid <= 0:
        return "root can't be locked"
    if target == "user" and not is_on_host:
        return "a user of a container has no account of the host"
    return ""


def _is_among(path: str, patterns: tuple[str, ...]) -> bool:
    return any(is_like(path, pattern) for pattern in patterns)
