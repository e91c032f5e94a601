from dataclasses import replace

import pytest

from processor.actions.planning import Planner
from processor.actions.policies import ActionPolicy, Never
from schemas.action import ActionType, TargetType
from schemas.alert import PLANNED, Repeats
from schemas.catalog.priorities import Priority
from tests.unit.alerts import alert

PROCESS = {"proc.pid": 7, "proc.pid.ts": 5, "proc.name": "nc", "proc.exepath": "/usr/bin/nc", "container.id": "host"}
CONTAINER = {"container.id": "3f2", "container.name": "web", "container.image.repository": "shop/web"}
POD = {
    "k8s.ns.name": "shop",
    "k8s.pod.name": "web-1",
    "k8s.pod.uid": "0b9c1a52-2bbe-4d2a-9f0e-1c6f4a7d3b21",
    "k8s.node.name": "worker-1",
}
NO_NODE = "would not cordon node: the alert names no node: `lanner kubernetes` has to run"
NEEDED = "would not evict pod kube-system/web-1: the cluster needs the pods of kube-system"
SESSION = {"proc.sid": 6, "process.session_leader.start": 4, "process.session_leader.name": "bash"}


def policy(type_: ActionType, target: TargetType, never: Never = Never(), lease: int = 0) -> ActionPolicy:  # noqa: B008
    """Return a policy for all rules."""
    return ActionPolicy("p", type_, target, "would", lease, ("*",), (), Priority.DEBUG, never)


def planned_text(made: ActionPolicy, **event: object) -> str:
    """Return the text of the one action that an alert requests."""
    (found,) = Planner({"A rule": (made,)}).plan(alert(event=event, host_id="h"))
    return found.text


@pytest.mark.parametrize(
    ("made", "event", "text"),
    [
        (policy("kill", "process"), PROCESS, "would kill process 7 (nc)"),
        (policy("kill", "session"), PROCESS | SESSION, "would kill session 6 (bash)"),
        (policy("freeze", "container", lease=90_000_000_000), CONTAINER, "would freeze container web for 90s"),
        (policy("isolate", "host"), {}, "would isolate host web-3"),
        (policy("quarantine", "program"), PROCESS, "would quarantine program /usr/bin/nc"),
        (policy("quarantine", "file"), {"fd.name": "/opt/x", "fd.type": "file"}, "would quarantine file /opt/x"),
        (policy("lock", "user"), PROCESS | {"user.name": "ann", "user.uid": 1000}, "would lock user ann"),
        (policy("cordon", "node"), CONTAINER | POD, "would cordon node worker-1"),
        (policy("evict", "pod"), CONTAINER | POD, "would evict pod shop/web-1"),
        (policy("isolate", "pod", lease=90_000_000_000), CONTAINER | POD, "would isolate pod shop/web-1 for 90s"),
        (policy("label", "pod"), PROCESS, "would not label pod: the process is in no pod"),
        (policy("cordon", "node"), PROCESS, NO_NODE),
        (policy("evict", "pod"), CONTAINER | POD | {"k8s.ns.name": "kube-system"}, NEEDED),
    ],
)
def test_an_alert_states_what_an_action_would_hit(made: ActionPolicy, event: dict[str, object], text: str) -> None:
    """Each target is named by the facts of the event."""
    assert planned_text(made, **event) == text


@pytest.mark.parametrize(
    ("made", "event", "reason"),
    [
        (policy("kill", "process"), {"proc.pid": 7}, "when the process started"),
        (policy("kill", "session"), PROCESS, "when the session began"),
        (policy("freeze", "container"), PROCESS, "in no container"),
        (policy("lock", "user"), PROCESS, "names no user"),
        (policy("lock", "user"), CONTAINER | {"user.name": "app", "user.uid": 1000}, "no account of the host"),
        (policy("lock", "user"), PROCESS | {"user.name": "root", "user.uid": 0}, "root can't be locked"),
        (policy("quarantine", "file"), {"fd.name": "10.0.0.1:80", "fd.type": "ipv4"}, "names no file"),
        (policy("quarantine", "file"), {"fd.name": "/boot/vmlinuz"}, "the host needs /boot/vmlinuz"),
        (policy("kill", "process"), PROCESS | {"proc.pid": 1}, "the first process"),
        (policy("kill", "process"), PROCESS | {"proc.exepath": "/usr/sbin/sshd"}, "the host needs /usr/sbin/sshd"),
        (policy("kill", "process", Never(hosts=("web-*",))), PROCESS, "never for the host web-*"),
        (policy("freeze", "container", Never(images=("shop/*",))), CONTAINER, "never for the image shop/*"),
        (policy("kill", "process", Never(users=("an*",))), PROCESS | {"user.name": "ann"}, "never for the user an*"),
        (policy("isolate", "host", Never(namespaces=("kube-*",))), {"k8s.ns.name": "kube-system"}, "namespace kube-*"),
    ],
)
def test_what_is_unknown_or_protected_is_refused_with_a_reason(
    made: ActionPolicy, event: dict[str, object], reason: str
) -> None:
    """Nobody should act on half a fact, on what the host needs, or on what a policy is never for."""
    text = planned_text(made, **event)
    assert text.startswith(f"would not {made.type} ")
    assert reason in text


def test_a_name_protects_nobody() -> None:
    """A process in a container may call itself sshd, and lie at its path."""
    event = PROCESS | CONTAINER | {"proc.name": "sshd", "proc.exepath": "/usr/sbin/sshd"}
    assert planned_text(policy("kill", "process"), **event) == "would kill process 7 (sshd)"


def test_the_same_alert_has_the_same_plan() -> None:
    """A summary of repeats has none, and an alert of another rule stays as it is."""
    planner = Planner({"A rule": (policy("kill", "process"),)})
    made = alert(event=PROCESS, host_id="h")
    assert planner.plan(made) == planner.plan(made)
    assert planner.plan(replace(made, repeats=Repeats("x", 3, 1, 2, 10))) == ()
    assert planner.stated(made).output_fields[PLANNED] == ("would kill process 7 (nc)",)
    other = replace(made, rule="Another")
    assert planner.stated(other) is other
