"""Actions on a real node, from what a process in a pod does to what the kubelet does then, with the chart's rights."""

import ctypes
import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from lanner.actions.book import ActionBook, TrackedAction
from lanner.actions.topics import TopicActionRecords
from schemas.action import ActionDecision
from tests.cluster.broker import Broker
from tests.cluster.conftest import with_topics
from tests.cluster.processes import FRESH, Processes
from tests.cluster.test_actions import written_key
from tests.deploy.test_helm import VERSIONS, template
from tests.kubernetes.node import Node
from tests.kubernetes.settings import API, NAME

pytestmark = pytest.mark.timeout(3600)

RULES = """
- rule: Marked file
  desc: An action of the test.
  condition: evt.type in (open, openat) and fd.name startswith /tmp/lanner-mark- and k8s.ns.name = shop
  output: opened %fd.name
  priority: NOTICE
"""
POLICY = """
- action: {type}
  type: {type}
  target: {target}
  state: do
  rules: [Marked file {type}]
"""
TARGETS = {"label": "pod", "isolate": "pod", "cordon": "node", "evict": "pod"}
ACCOUNT = "fleet-lanner-kubernetes"
_RIGHTS = {"ServiceAccount", "ClusterRole", "ClusterRoleBinding", "Role", "RoleBinding"}
_NETWORK = 0x40000000
"""CLONE_NEWNET."""
OTHER = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "other"}}
READY = json.dumps({"status": {"conditions": [{"type": "Ready", "status": "True", "reason": "r", "message": "m"}]}})


@contextmanager
def network_of(node: Node) -> Iterator[None]:
    """Put sockets, threads and processes of this block into the network of the node."""
    libc = ctypes.CDLL(None, use_errno=True)
    with Path("/proc/thread-self/ns/net").open() as own, (node.socket.parents[3] / "ns/net").open() as other:
        assert libc.setns(other.fileno(), _NETWORK) == 0, os.strerror(ctypes.get_errno())
        try:
            yield
        finally:
            libc.setns(own.fileno(), _NETWORK)


def rules_for_each() -> str:
    """Return a rule and a policy for each type of action."""
    made = ""
    for type_, target in TARGETS.items():
        rule = RULES.replace("Marked file", f"Marked file {type_}").replace("lanner-mark-", f"lanner-mark-{type_}")
        lease = "" if type_ == "evict" else "  lease: 8s\n"
        made += rule + POLICY.format(type=type_, target=target) + lease
    return made


def kubeconfig(node: Node, folder: Path) -> Path:
    """Apply the rights of the chart to its service account; return a kubeconfig with its token."""
    options = ("--set", f"kubernetes.actions.enabled={{{','.join(TARGETS)}}}", "--set", "kubernetes.actions.secret=k")
    every = template("keda", VERSIONS[-1], "--set", "kubernetes.enabled=true", *options)
    node.kubectl("create", "namespace", "security")
    for each in every:
        if each["kind"] in _RIGHTS and each["metadata"]["name"] == ACCOUNT:
            node.kubectl("apply", "--namespace", "security", "-f", "-", given=json.dumps(each))
    token = node.kubectl("create", "token", ACCOUNT, "--namespace", "security").strip()
    path = folder / "kubeconfig"
    config = {
        "current-context": "c",
        "clusters": [{"name": "k", "cluster": {"server": API, "insecure-skip-tls-verify": True}}],
        "contexts": [{"name": "c", "context": {"cluster": "k", "user": "u"}}],
        "users": [{"name": "u", "user": {"token": token}}],
    }
    path.write_text(json.dumps(config))
    return path


class Fleet:
    """A collector, a processor and `lanner kubernetes` at a broker in the node's network."""

    def __init__(self, node: Node, processes: Processes, broker: Broker, folder: Path) -> None:
        self.node = node
        written_key(folder, "processor.pem")
        written_key(folder, "cluster.pem")
        self._ann = written_key(folder, "ann.pem")
        rules = folder / "rules.yaml"
        rules.write_text(rules_for_each())
        connection = with_topics(broker, 2)
        acting = {
            "ENABLED": f"[{', '.join(TARGETS)}]",
            "KEY_FILE": f"{folder}/cluster.pem",
            "PROCESSOR_KEY_FILES": f"[{folder}/processor.pub]",
            "PEOPLE_KEY_FILES": f"[{folder}/ann.pub]",
        }
        settings = {
            "LANNER__ACTIONS__KEY_FILE": f"{folder}/processor.pem",
            "LANNER__ACTIONS__CLUSTER_KEY_FILES": f"[{folder}/cluster.pub]",
            "LANNER__COLLECTOR__CRI_SOCKETS": f"[{node.socket}]",
            "LANNER__CLUSTER_NAME": "shop-1",
            "LANNER__KUBERNETES__KUBECONFIG": str(kubeconfig(node, folder)),
            "LANNER__KUBERNETES__LEASE_NAME": ACCOUNT,
            "LANNER__KUBERNETES__LEASE_NAMESPACE": "security",
            **{f"LANNER__KUBERNETES__ACTIONS__{name}": value for name, value in acting.items()},
        }
        self.kubernetes = processes.start(connection, "kubernetes", environment=settings, program=FRESH)
        self.processor = processes.start(connection, "processor", rules=rules, environment=settings, program=FRESH)
        self.collector = processes.start(connection, "collector", rules=rules, environment=settings, program=FRESH)
        self.processor.wait_for("evaluating rules:")
        self.collector.wait_for("Stop: Ctrl-C")
        self._book, self._records = ActionBook(), TopicActionRecords(connection, self._ann)

    def until(self, type_: str, *statuses: str) -> TrackedAction:
        """Return the newest action of a type as soon as it has one of some states."""
        deadline = time.monotonic() + 40
        while True:
            self._records.update(self._book)
            found = [each for each in self._book.actions if each.intent.type == type_ and not each.intent.refusal]
            found = [each for each in found if each.status(time.time_ns()) in statuses]
            if found:
                return found[-1]
            every = [(each.intent, each.last) for each in self._book.actions]
            assert time.monotonic() < deadline, (every, self.kubernetes.errors, self.processor.errors)
            time.sleep(0.2)

    def undo(self, action: TrackedAction) -> None:
        """Undo an action, as a person."""
        self._records.write(ActionDecision("undo", "undo", action.intent.id, "ann", time.time_ns()))

    def mark(self, type_: str) -> None:
        """Do in the pod what requests an action."""
        self.node.kubectl("exec", "--namespace=shop", "deployment/web", "--", "touch", f"/tmp/lanner-mark-{type_}")

    def object(self, *arguments: str) -> dict[str, Any]:
        """Return an object of the cluster."""
        found: dict[str, Any] = json.loads(self.node.kubectl("get", "--output=json", *arguments))
        return found

    def pod(self) -> dict[str, Any]:
        """Return the pod of the deployment that isn't being deleted."""
        items = self.object("pods", "--namespace=shop", "--selector=app=web")["items"]
        [found] = [each for each in items if "deletionTimestamp" not in each["metadata"]]
        return found  # type: ignore[no-any-return]


def settle(check: Callable[[], bool]) -> None:
    """Wait until something is so."""
    deadline = time.monotonic() + 40
    while not check():
        assert time.monotonic() < deadline
        time.sleep(0.3)


def test_what_a_process_does_changes_its_pod_and_node(node: Node, tmp_path: Path) -> None:
    """A label and an isolation end by themselves, a cordon by a person, and an evicted pod's successor runs."""
    node.kubectl("create", "namespace", "shop")
    node.kubectl("create", "deployment", "web", "--image=nginx:1.27", "--namespace=shop")
    node.roll_out("shop", "deployment/web")
    with network_of(node):
        broker, processes = Broker(tmp_path / "broker"), Processes(tmp_path)
        try:
            broker.start()
            fleet = Fleet(node, processes, broker, tmp_path)
            _check(fleet)
        finally:
            processes.end()
            broker.remove()
            node.kubectl("delete", "namespace", "shop", "security")
            node.kubectl("delete", "node", "other", "--ignore-not-found")


def _check(fleet: Fleet) -> None:
    pod = fleet.pod()["metadata"]

    fleet.mark("label")
    done = fleet.until("label", "done")
    assert (done.intent.pod, done.intent.pod_uid, done.intent.cluster) == (pod["name"], pod["uid"], "shop-1")
    assert fleet.pod()["metadata"]["labels"]["lanner-action/labeled"] == done.intent.id
    fleet.until("label", "ended")
    assert "lanner-action/labeled" not in fleet.pod()["metadata"]["labels"]

    fleet.mark("isolate")
    policy = f"lanner-{fleet.until('isolate', 'done').intent.id}"
    assert policy in fleet.node.kubectl("get", "networkpolicies", "--namespace=shop")
    fleet.until("isolate", "ended")
    assert policy not in fleet.node.kubectl("get", "networkpolicies", "--namespace=shop")

    fleet.mark("cordon")
    refused = fleet.until("cordon", "refused")
    assert refused.last is not None
    assert refused.last.text == "it is the last node that is ready and takes pods"
    assert "unschedulable" not in fleet.object("node", NAME)["spec"]

    fleet.mark("evict")
    fleet.until("evict", "done")
    fleet.node.kubectl("wait", "--namespace=shop", "--for=delete", f"pod/{pod['name']}", "--timeout=60s")
    fleet.node.roll_out("shop", "deployment/web")
    assert fleet.pod()["metadata"]["uid"] != pod["uid"]

    fleet.node.kubectl("create", "-f", "-", given=json.dumps(OTHER))
    fleet.node.kubectl("patch", "node", "other", "--subresource=status", "--patch", READY)
    # The first request counts while it would have lasted, although it was refused.
    settle(lambda: time.time_ns() > refused.intent.created + 2 * refused.intent.lease)
    fleet.mark("cordon")
    done = fleet.until("cordon", "done")
    assert fleet.object("node", NAME)["spec"]["unschedulable"] is True
    fleet.undo(done)
    fleet.until("cordon", "undone")
    assert "unschedulable" not in fleet.object("node", NAME)["spec"]
