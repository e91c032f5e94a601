"""deploy/kubernetes/lanner.yaml on a real node: alerts with their container's names, in the pod's log."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.kubernetes.alerts import PACKAGES, SHADOW, SHELL, LoggedAlert, alerts, in_terminal, wait_for
from tests.kubernetes.node import Node

MANIFEST = Path("deploy/kubernetes/lanner.yaml").absolute()
WORKLOADS = Path(__file__).with_name("workloads.yaml")
IMAGE = "docker.io/library/nginx:1.27"

pytestmark = pytest.mark.timeout(3600)


@pytest.fixture(scope="module")
def lanner(node: Node) -> Iterator[Node]:
    """Install Lanner, and wait until it watches."""
    node.kubectl("apply", "-f", MANIFEST)
    node.kubectl("rollout", "status", "--namespace", "lanner", "daemonset/lanner", "--timeout=120s", timeout=130)
    yield node
    node.kubectl("delete", "-f", MANIFEST)


def found(node: Node, namespace: str, rule: str = "") -> list[LoggedAlert]:
    """Return the alerts about pods of a namespace: other programs of this machine may raise alerts too."""
    every = (alert for alert in alerts(node, "lanner", "daemonset/lanner") if alert.container[0] == namespace)
    return [alert for alert in every if rule in ("", alert.rule)]


def test_a_shell_in_a_pod_is_alerted_with_its_names(lanner: Node) -> None:
    """A terminal, a password file and a package manager: one alert each within two seconds."""
    lanner.kubectl("run", "nginx", "--image=nginx:1.27")
    lanner.kubectl("wait", "--for=condition=Ready", "pod/nginx", "--timeout=60s")
    in_terminal(lanner, "nginx", "cat /etc/shadow", "apt-get update")
    for rule in (SHELL, SHADOW, PACKAGES):
        [alert] = wait_for(lambda rule=rule: found(lanner, "default", rule))
        assert alert.container == ("default", "nginx", "nginx", IMAGE)
        assert alert.delay < 2


def test_every_container_of_a_pod_has_its_name(lanner: Node) -> None:
    """Init containers and Jobs of milliseconds, sidecars, pods in the host's namespaces, and ephemeral containers."""
    lanner.kubectl("apply", "-f", WORKLOADS)
    lanner.kubectl("rollout", "status", "--namespace=prod", "deployment/web", "--timeout=90s")
    lanner.kubectl("exec", "--namespace=prod", "deployment/web", "--container=nginx", "--", "cat", "/etc/shadow")
    debug = ("--image=nginx:1.27", "--image-pull-policy=IfNotPresent", "--container=debugger", "--attach=false")
    web = lanner.kubectl("get", "pods", "--namespace=prod", "--selector=app=web", "--output=name").strip()
    lanner.kubectl("debug", "--namespace=prod", web, *debug, "--", "cat", "/etc/shadow")
    new = wait_for(lambda: found(lanner, "prod", SHADOW), 6)
    names = set()
    for alert in new:
        namespace, pod, name, _ = alert.container
        names.add((namespace, pod.partition("-")[0], name))
    assert names == {
        ("prod", "web", "prepare"),
        ("prod", "web", "nginx"),
        ("prod", "web", "sidecar"),
        ("prod", "web", "debugger"),
        ("prod", "report", "report"),
        ("prod", "admin", "admin"),
    }
    assert {alert.container[3] for alert in new} == {IMAGE}
    assert max(alert.delay for alert in new) < 2


def test_ordinary_life_raises_no_alert(lanner: Node) -> None:
    """A rolling update, scaling, logs, copies and commands without a terminal."""
    before = len(found(lanner, "default"))
    lanner.kubectl("create", "deployment", "quiet", "--image=nginx:1.27", "--replicas=2")
    lanner.kubectl("rollout", "status", "deployment/quiet", "--timeout=60s")
    lanner.kubectl("rollout", "restart", "deployment/quiet")
    lanner.kubectl("rollout", "status", "deployment/quiet", "--timeout=90s")
    lanner.kubectl("scale", "deployment/quiet", "--replicas=1")
    lanner.kubectl("exec", "deployment/quiet", "--", "ls", "/")
    lanner.kubectl("logs", "deployment/quiet")
    lanner.kubectl("delete", "deployment/quiet")
    # An alert that comes now shows that all before it were written.
    lanner.kubectl("exec", "nginx", "--", "cat", "/etc/shadow")
    new = wait_for(lambda: found(lanner, "default")[before:])
    assert [alert.rule for alert in new] == [SHADOW]
