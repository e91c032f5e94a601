"""Plans actions: from an alert and the policies of its rule to what each would hit, or why it would not be done.

Pure: a plan depends on the alert alone, so a repeated alert has the same plan.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from foundation.text import is_like
from processor.actions.policies import ActionPolicy
from schemas.action import ActionIntent, TargetType, why_protected
from schemas.alert import CLUSTER_FIELD, PLANNED, Alert, Value, alert_id
from schemas.limits import clipped

Facts = Mapping[str, Value]

_MAX_STATED = 8
_MAX_TEXT_BYTES = 300
_ON_HOST = (None, "", "host")
_SHORT_ID = 12
_AUXILIARIES = {"would": "would ", "ask": "asks to ", "do": "will "}
_PROCESS_FACTS = {
    "process": ("proc.pid", "proc.pid.ts", "proc.name"),
    "session": ("proc.sid", "process.session_leader.start", "process.session_leader.name"),
}


@dataclass(frozen=True, slots=True)
class ActionTarget:
    """What an action is done to."""

    type: TargetType
    host_id: str
    key: tuple[str | int, ...]
    """What identifies it on its host, such as a process's id and start time."""


@dataclass(frozen=True, slots=True)
class PlannedAction:
    """What a policy requests because of one alert."""

    policy: ActionPolicy
    alert: Alert
    intent: ActionIntent
    """With why it would not be done, if it wouldn't."""

    @property
    def text(self) -> str:
        """What would be done, or why it wouldn't; it may contain what an attacker wrote."""
        if self.intent.refusal:
            return f"would not {self.intent.type} {self.intent.text}: {self.intent.refusal}"
        return f"{_AUXILIARIES[self.intent.state]}{self.intent.summary}"


def target_of(intent: ActionIntent) -> ActionTarget:
    """Return what an intent is about; two intents about the same are equal in it."""
    keys: dict[TargetType, tuple[str | int, ...]] = {
        "process": (intent.pid, intent.start_time),
        "session": (intent.pid, intent.start_time),
        "container": (intent.container_id[:_SHORT_ID],),
        "host": (),
        "program": (intent.container_id, intent.path),
        "file": (intent.container_id, intent.path),
        "user": (intent.user, intent.uid),
        "pod": (intent.pod_uid,),
        "node": (intent.node,),
    }
    return ActionTarget(intent.target, intent.host_id, keys[intent.target])


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
    intent = ActionIntent(
        id=alert_id(alert.time, "action", policy.name, alert.id),
        type=policy.type,
        target=policy.target,
        host_id=alert.host_id,
        hostname=alert.hostname,
        state=policy.state,
        text=policy.target,
        created=alert.time,
        policy=policy.name,
        lease=policy.lease,
        wait=policy.wait,
        approvals=policy.approvals if policy.state == "ask" else 0,
        container_id=_container(facts),
        alert=alert.id,
        rule=alert.rule,
        workload=_workload(facts),
        cluster=str(facts.get(CLUSTER_FIELD) or alert.cluster_name),
    )
    intent, missing = _identified(intent, facts)
    refusal = missing or _spared(policy, alert, facts) or why_protected(intent, str(facts.get("proc.exepath") or ""))
    return PlannedAction(policy, alert, replace(intent, refusal=refusal) if refusal else intent)


def _identified(intent: ActionIntent, facts: Facts) -> tuple[ActionIntent, str]:
    """Return an intent with what identifies its target, or why the alert doesn't state it."""
    target = intent.target
    if target == "host":
        return replace(intent, text=f"host {intent.hostname}"), "" if intent.host_id else "the alert names no host"
    if target == "container":
        if not intent.container_id:
            return intent, "the process is in no container"
        return replace(intent, text=f"container {facts.get('container.name') or facts.get('container.id')}"), ""
    if target in ("process", "session"):
        pid, start, name = (facts.get(each) for each in _PROCESS_FACTS[target])
        if not isinstance(pid, int) or not isinstance(start, int):
            begun = "process started" if target == "process" else "session began"
            return intent, f"the alert doesn't state when the {begun}, and its id alone can be another's"
        return replace(intent, text=f"{target} {pid} ({name})", pid=pid, start_time=start), ""
    if target == "user":
        user, uid = facts.get("user.name"), facts.get("user.uid")
        named = replace(intent, text=f"user {user}", user=str(user or ""), uid=uid if isinstance(uid, int) else -1)
        return (named, "") if user else (intent, "the alert names no user")
    if target in ("pod", "node"):
        return _of_cluster(intent, facts)
    path = facts.get("proc.exepath" if target == "program" else "fd.name")
    if not path or (target == "file" and facts.get("fd.type") not in (None, "file")):
        return intent, f"the alert names no {target}"
    return replace(intent, text=f"{target} {path}", path=str(path)), ""


def _of_cluster(intent: ActionIntent, facts: Facts) -> tuple[ActionIntent, str]:
    """Return an intent with the pod or the node of the process."""
    if intent.target == "node":
        node = str(facts.get("k8s.node.name") or "")
        named = replace(intent, text=f"node {node}", node=node)
        return (named, "") if node else (intent, "the alert names no node: `lanner kubernetes` has to run")
    namespace, pod, uid = (str(facts.get(f"k8s.{each}") or "") for each in ("ns.name", "pod.name", "pod.uid"))
    if not (namespace and pod and uid):
        return intent, "the process is in no pod" if not uid else "the alert doesn't name the pod"
    return replace(intent, text=f"pod {namespace}/{pod}", namespace=namespace, pod=pod, pod_uid=uid), ""


def _container(facts: Facts) -> str:
    found = facts.get("container.full_id") or facts.get("container.id")
    return "" if found in _ON_HOST else str(found)


def _workload(facts: Facts) -> str:
    """Return what people know the process's container by: its owner in Kubernetes, else its image; empty for none."""
    owner = facts.get("k8s.owner.name") or facts.get("k8s.deployment.name") or facts.get("k8s.pod.name")
    if owner:
        return f"{facts.get('k8s.ns.name')}/{owner}"
    repository, tag = facts.get("container.image.repository"), facts.get("container.image.tag")
    return (f"{repository}:{tag}" if tag else str(repository)) if repository else ""


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
