"""deploy/kubernetes/lanner.yaml on a real node: alerts with their container's names, in the pod's log."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.kubernetes.alerts import PACKAGES, SHADOW, SHELL, LoggedAlert, alerts, in_terminal, wait_for
from tests.kubernetes.node import Node
from tests.kubernetes.settings import NAME

MANIFEST = Path("deploy/kubernetes/lanner.yaml").absolute()
WORKLOADS = Path(__file__).with_name("workloads.yaml")
IMAGE = "docker.io/library/nginx:1.27"

pytestmark = pytest.mark.timeout(3600)


@pytest.fixture(scope="module")
def lanner(node: Node) -> Iterator[Node]:
    """Install Lanner, and wait until it watches."""
    node.kubectl("apply", "-f", MANIFEST)
    node.roll_out("lanner", "daemonset/lanner")
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
    in_terminal(lanner, ("kubectl", "exec", "-it", "nginx", "--", "bash"), "cat /etc/shadow", "apt-get update")
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


def test_a_static_pod_has_its_names(lanner: Node) -> None:
    """The API server only mirrors it, under the name of the node."""
    shutil.copy(Path(__file__).with_name("static_pod.yaml"), lanner.static_pods)
    [alert] = wait_for(lambda: [each for each in found(lanner, "prod", SHADOW) if each.container[2] == "static"])
    assert alert.container == ("prod", f"static-{NAME}", "static", IMAGE)


def test_a_shell_on_the_node_is_alerted_without_noise(lanner: Node) -> None:
    """`kubectl debug node` and `chroot /host`: few alerts, with the names of the debugger."""
    before = len(found(lanner, "default"))
    debug = (
        "debug",
        f"node/{NAME}",
        "-it",
        "--image=nginx:1.27",
        "--image-pull-policy=IfNotPresent",
        "--profile=sysadmin",
    )
    in_terminal(lanner, ("kubectl", *debug, "--", "chroot", "/host", "bash", "-l"), "ls /", "cat /etc/shadow")
    wait_for(lambda: [each for each in found(lanner, "default", SHADOW)[-1:] if "debugger" in each.container[2]])
    new = found(lanner, "default")[before:]
    assert {alert.container[2] for alert in new} == {"debugger"}
    assert all(alert.container[1].startswith(f"node-debugger-{NAME}-") for alert in new)
    assert SHELL in {alert.rule for alert in new}
    assert len(new) < 10, [alert.rule for alert in new]


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
