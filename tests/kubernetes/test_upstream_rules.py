"""Falco's own rules on a real node: quiet in ordinary life, and the facts of each container are those of crictl."""

import json
from collections.abc import Iterator

import pytest
import yaml

from tests.kubernetes.alerts import LoggedAlert, alerts, wait_for
from tests.kubernetes.node import Node
from tests.kubernetes.test_manifest import MANIFEST
from tests.live.evtgen.cases import rules_files

FACTS = (
    "container.full_id",
    "container.image.digest",
    "container.image.id",
    "container.name",
    "container.privileged",
    "k8s.ns.name",
    "k8s.pod.full_sandbox_id",
    "k8s.pod.ip",
    "k8s.pod.label[app]",
    "k8s.pod.name",
    "k8s.pod.uid",
)
ASKED = "Facts asked for"
RULE = f"""
- rule: {ASKED}
  desc: Each `cat /etc/hostname` prints what is known of its container.
  condition: evt.type in (open, openat) and fd.name = /etc/hostname and proc.name = cat and container.id != host
  output: facts {" ".join(f"%{name}" for name in FACTS)}
  priority: NOTICE
"""
PODS = """
apiVersion: v1
kind: Pod
metadata: {name: plain, labels: {app: shop}}
spec:
  terminationGracePeriodSeconds: 1
  containers:
    - {name: first, image: "nginx:1.27"}
    - {name: second, image: "docker.io/library/nginx:1.27", command: [sleep, "3600"]}
---
apiVersion: v1
kind: Pod
metadata: {name: powerful, labels: {app: admin}}
spec:
  terminationGracePeriodSeconds: 1
  containers:
    - {name: powerful, image: "nginx:1.27", securityContext: {privileged: true}}
"""

pytestmark = pytest.mark.timeout(3600)


@pytest.fixture(scope="module")
def lanner(node: Node) -> Iterator[Node]:
    """Install Lanner with Falco's stable rules and one of ours in place of those that it has."""
    rules = {"falco_rules.yaml": rules_files()[0].read_text(), "facts.yaml": RULE}
    settings = yaml.safe_dump({"json_output": True, "rules_files": ["/etc/lanner/rules.d"]})
    replaced = {"lanner-rules": rules, "lanner-settings": {"lanner.yaml": settings}}
    documents = list(yaml.safe_load_all(MANIFEST.read_text()))
    for each in documents:
        each.update({"data": replaced[each["metadata"]["name"]]} if each["kind"] == "ConfigMap" else {})
    manifest = yaml.safe_dump_all(documents)
    node.kubectl("apply", "-f", "-", given=manifest)
    node.roll_out("lanner", "daemonset/lanner")
    yield node
    node.kubectl("delete", "-f", MANIFEST)


def found(node: Node, *, asked: bool) -> list[LoggedAlert]:
    """Return the alerts about pods: those with facts, or all others."""
    every = (alert for alert in alerts(node, "lanner", "daemonset/lanner") if alert.container[0] != "None")
    return [alert for alert in every if (alert.rule == ASKED) == asked]


def test_the_facts_of_each_container_are_those_of_crictl(lanner: Node) -> None:
    """Two containers of one pod, and a privileged one."""
    lanner.kubectl("apply", "-f", "-", given=PODS)
    lanner.kubectl("wait", "--for=condition=Ready", "pod/plain", "pod/powerful", "--timeout=60s")
    for pod, container in (("plain", "first"), ("plain", "second"), ("powerful", "powerful")):
        before = len(found(lanner, asked=True))
        lanner.kubectl("exec", pod, "--container", container, "--", "cat", "/etc/hostname")
        alert = wait_for(lambda before=before: found(lanner, asked=True)[before:])[-1]
        assert {name: alert.fields[name] for name in FACTS} == facts_of(lanner, container)


def facts_of(node: Node, name: str) -> dict[str, object]:
    """Return what crictl shows of a running container, of its pod and of its image."""
    crictl = ("crictl", "--runtime-endpoint", "unix:///run/containerd/containerd.sock")
    [identifier] = node.run(*crictl, "ps", "--quiet", "--name", f"^{name}$").split()
    container = json.loads(node.run(*crictl, "inspect", identifier))
    sandbox = container["info"]["sandboxID"]
    pod = json.loads(node.run(*crictl, "inspectp", sandbox))["status"]
    digest = container["status"]["imageRef"].partition("@")[2]
    return {
        "container.full_id": identifier,
        "container.image.digest": digest or None,
        "container.image.id": container["info"]["config"]["image"]["image"].removeprefix("sha256:"),
        "container.name": container["status"]["metadata"]["name"],
        "container.privileged": container["info"]["config"]["linux"]["security_context"].get("privileged", False),
        "k8s.ns.name": pod["metadata"]["namespace"],
        "k8s.pod.full_sandbox_id": sandbox,
        "k8s.pod.ip": pod["network"]["ip"],
        "k8s.pod.label[app]": pod["labels"]["app"],
        "k8s.pod.name": pod["metadata"]["name"],
        "k8s.pod.uid": pod["metadata"]["uid"],
    }


def test_ordinary_life_raises_no_alert_of_falcos_rules(lanner: Node) -> None:
    """A rolling update, scaling, probes, logs, jobs and commands without a terminal."""
    lanner.kubectl("create", "deployment", "shop", "--image=nginx:1.27", "--replicas=2")
    lanner.kubectl("rollout", "status", "deployment/shop", "--timeout=60s")
    lanner.kubectl("rollout", "restart", "deployment/shop")
    lanner.kubectl("rollout", "status", "deployment/shop", "--timeout=90s")
    lanner.kubectl("scale", "deployment/shop", "--replicas=1")
    lanner.kubectl("exec", "deployment/shop", "--", "ls", "/")
    lanner.kubectl("logs", "deployment/shop")
    lanner.kubectl("create", "job", "once", "--image=nginx:1.27", "--", "ls", "/")
    lanner.kubectl("wait", "--for=condition=Complete", "job/once", "--timeout=60s")
    lanner.kubectl("delete", "deployment/shop", "job/once")
    # An alert that comes now shows that all before it were written.
    before = len(found(lanner, asked=True))
    lanner.kubectl("exec", "plain", "--container=first", "--", "cat", "/etc/hostname")
    wait_for(lambda: found(lanner, asked=True)[before:])
    assert [(alert.rule, alert.container) for alert in found(lanner, asked=False)] == []
