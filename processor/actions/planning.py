"""Plans actions: from an alert and the policies of its rule to what each would hit, or why it would not be done.

Pure: a plan depends on the alert alone, so a repeated alert has the same plan.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from foundation.quantities import duration_text
from foundation.text import is_like
from processor.actions.policies import ActionPolicy, TargetType
from schemas.alert import PLANNED, Alert, Value
from schemas.limits import clipped

Facts = Mapping[str, Value]

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
_MAX_STATED = 8
_MAX_TEXT_BYTES = 300
_ON_HOST = (None, "", "host")


@dataclass(frozen=True, slots=True)
class ActionTarget:
    """What an action is done to."""

    type: TargetType
    host_id: str
    key: tuple[str | int, ...]
    """What identifies it on its host, such as a process's id and start time."""
    text: str = field(compare=False)
    """For people; it may contain what an attacker wrote."""


@dataclass(frozen=True, slots=True)
class PlannedAction:
    """What a policy requests because of one alert."""

    policy: ActionPolicy
    alert: Alert
    target: ActionTarget | None
    """None if the alert doesn't state it."""
    refusal: str = ""
    """Why it would not be done; empty if it would."""

    @property
    def text(self) -> str:
        """What would be done, or why it wouldn't; it may contain what an attacker wrote."""
        policy = self.policy
        what = policy.target if self.target is None else self.target.text
        if self.refusal:
            return f"would not {policy.type} {what}: {self.refusal}"
        lease = f" for {duration_text(policy.lease)}" if policy.lease else ""
        return f"would {policy.type} {what}{lease}"


class Planner:
    """Plans the actions that alerts request."""

    def __init__(self, by_rule: Mapping[str, tuple[ActionPolicy, ...]]) -> None:
        """Take the policies that the alerts of each rule request."""
        self._by_rule = by_rule

    def plan(self, alert: Alert) -> tuple[PlannedAction, ...]:
        """Return what an alert requests, with what is refused; nothing for a summary of repeats."""
        if alert.repeats is not None:
            return ()
        return tuple(_planned(policy, alert) for policy in self._by_rule.get(alert.rule, ()))

    def stated(self, alert: Alert) -> Alert:
        """Return the alert with what it requests, for people; the same object if that is nothing."""
        texts = tuple(clipped(each.text, _MAX_TEXT_BYTES) for each in self.plan(alert)[:_MAX_STATED])
        return replace(alert, output_fields={**alert.output_fields, PLANNED: texts}) if texts else alert


def _planned(policy: ActionPolicy, alert: Alert) -> PlannedAction:
    facts = alert.stated
    target, missing = _target(policy.target, alert, facts)
    refusal = missing or _spared(policy, alert, facts) or _protected(policy, facts)
    return PlannedAction(policy, alert, target, refusal)


def _target(type_: TargetType, alert: Alert, facts: Facts) -> tuple[ActionTarget | None, str]:
    """Return what an action is done to, or why that is unknown."""

    def made(text: str, *key: Value) -> tuple[ActionTarget | None, str]:
        parts = tuple(part for part in key if isinstance(part, (str, int)))
        return ActionTarget(type_, alert.host_id, parts, text), ""

    name, pid, start = (facts.get(each) for each in ("proc.name", "proc.pid", "proc.pid.ts"))
    container = facts.get("container.full_id") or facts.get("container.id")
    if type_ == "host":
        return made(f"host {alert.hostname}") if alert.host_id else (None, "the alert names no host")
    if type_ == "container":
        if container in _ON_HOST:
            return None, "the process is in no container"
        return made(f"container {facts.get('container.name') or container}", facts.get("container.id"))
    if type_ == "process":
        if pid is None or start is None:
            return None, "the alert doesn't state when the process started, and its id alone can be another's"
        return made(f"process {pid} ({name})", pid, start)
    if type_ == "session":
        session, begun = facts.get("proc.sid"), facts.get("process.session_leader.start")
        if session is None or begun is None:
            return None, "the alert doesn't state when the session began, and its id alone can be another's"
        return made(f"session {session} ({facts.get('process.session_leader.name')})", session, begun)
    if type_ == "user":
        user = facts.get("user.name")
        return made(f"user {user}", facts.get("user.uid")) if user else (None, "the alert names no user")
    path = facts.get("proc.exepath" if type_ == "program" else "fd.name")
    if not path or (type_ == "file" and facts.get("fd.type") not in (None, "file")):
        return None, f"the alert names no {type_}"
    return made(f"{type_} {path}", container if container not in _ON_HOST else "", path)


def _spared(policy: ActionPolicy, alert: Alert, facts: Facts) -> str:
    """Return which entry of a policy's `never` applies; empty for none."""
    never = policy.never
    repository, tag = facts.get("container.image.repository"), facts.get("container.image.tag")
    for what, values, patterns in (
        ("host", (alert.hostname, alert.host_id), never.hosts),
        ("user", (facts.get("user.name"), facts.get("user.loginname")), never.users),
        ("image", (repository, f"{repository}:{tag}"), never.images if repository else ()),
        ("namespace", (facts.get("k8s.ns.name"),), never.namespaces),
    ):
        for pattern in patterns:
            if any(value and is_like(str(value), pattern) for value in values):
                return f"the policy is never for the {what} {pattern}"
    return ""


def _protected(policy: ActionPolicy, facts: Facts) -> str:
    """Return why nobody should act on it, whatever the policy states; empty if there is no reason."""
    is_on_host = facts.get("container.id") in _ON_HOST
    path, target = str(facts.get("proc.exepath") or ""), policy.target
    if target in ("process", "session") and facts.get("proc.pid") in (1, 2):
        return "it is the first process of the host"
    if target in ("process", "program") and is_on_host and _is_among(path, HOST_PROGRAMS):
        return f"the host needs {path}"
    if target == "session" and facts.get("proc.sid") in (0, 1):
        return "it is the session of the first process of the host"
    if target == "file" and is_on_host and _is_among(str(facts.get("fd.name") or ""), (*HOST_PROGRAMS, *HOST_FILES)):
        return f"the host needs {facts.get('fd.name')}"
    if target == "user" and facts.get("user.uid") in (0, None):
        return "root can't be locked"
    if target == "user" and not is_on_host:
        return "a user of a container has no account of the host"
    return ""


def _is_among(path: str, patterns: tuple[str, ...]) -> bool:
    return any(is_like(path, pattern) for pattern in patterns)
