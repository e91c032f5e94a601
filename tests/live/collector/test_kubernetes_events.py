"""Events from containers that a kubelet would start, over containerd's CRI plugin, carry container, image and pod."""

import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.live.collector.test_container_events import run_in_background
from tests.live.collector.watching import Event, Watching, watching
from tests.live.containerd import BUSYBOX, Containerd
from tests.live.kubelet import UID, Kubelet, Pod

pytestmark = pytest.mark.containers

SHORT_LIVED = 100


@pytest.fixture
def pod(containerd: Containerd) -> Iterator[Pod]:
    """Run a pod."""
    with Kubelet(containerd.socket).pod("web-1", "prod", {"app": "web"}) as running:
        yield running


def opened(watch: Watching, path: str, **container: str) -> Event:
    """Return the last event in which cat opened a file in one container: others of this machine may open it too."""
    return watch.events(fd__name=path, proc__name="cat", **container)[-1]


def test_an_exec_into_a_pod_carries_container_image_and_pod(pod: Pod) -> None:
    """Without a setting: the shim reveals the runtime's directory and socket."""
    with watching("open", "openat", "execve") as watch:
        container = pod.start("nginx", "/bin/sleep", "60")
        run_in_background(lambda: pod.exec(container, "/bin/cat", "/etc/shadow"), watch.settle)
        event = opened(watch, "/etc/shadow", container__full_id=container)

    repository, tag = BUSYBOX.rsplit(":", 1)
    assert event["container.full_id"] == container
    assert event["container.type"] == "containerd"
    assert event["container.name"] == "nginx"
    assert (event["container.image.repository"], event["container.image.tag"]) == (repository, tag)
    assert event["container.privileged"] is False
    assert (event["k8s.pod.name"], event["k8s.ns.name"], event["k8s.pod.uid"]) == ("web-1", "prod", UID)
    assert event["k8s.pod.full_sandbox_id"] == pod.sandbox
    assert event["k8s.pod.label[app]"] == "web"


def test_a_command_with_a_terminal_is_in_its_container(pod: Pod, containerd: Containerd) -> None:
    """As kubectl exec -it starts it."""
    with watching("open", "openat") as watch:
        container = pod.start("nginx", "/bin/sleep", "60")
        command = containerd.ctr_command("task", "exec", "--exec-id", "e1", "-t", container, "/bin/cat", "/etc/group")
        run_in_background(
            lambda: subprocess.run(
                ["script", "-qec", " ".join(command), "/dev/null"], check=True, timeout=30, stdin=subprocess.DEVNULL
            ),
            watch.settle,
        )
        event = opened(watch, "/etc/group", container__full_id=container)

    assert (event["container.name"], event["k8s.ns.name"]) == ("nginx", "prod")
    assert event["proc.tty"]


def test_a_privileged_container_is_seen(containerd: Containerd) -> None:
    """Launch Privileged Container depends on it."""
    kubelet = Kubelet(containerd.socket)
    with watching("open", "openat") as watch, kubelet.pod("evil", "prod", privileged=True) as pod:
        run_in_background(lambda: pod.start("evil", "/bin/cat", "/etc/passwd", privileged=True), watch.settle)
        event = opened(watch, "/etc/passwd", k8s__pod__name="evil")

    assert event["container.privileged"] is True


def test_a_hundred_containers_of_less_than_a_tenth_of_a_second_are_all_named(pod: Pod) -> None:
    """Each is gone before anybody could look at its directory by hand."""

    def start() -> None:
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(lambda number: pod.start(f"short-{number}", "/bin/cat", "/etc/group"), range(SHORT_LIVED)))

    with watching("open", "openat") as watch:
        run_in_background(start, watch.settle)
        events = watch.events(fd__name="/etc/group", proc__name="cat")

    assert {event["container.name"] for event in events} == {f"short-{number}" for number in range(SHORT_LIVED)}
    assert {(event["k8s.pod.name"], event["container.image"]) for event in events} == {("web-1", BUSYBOX)}


def test_doctor_shows_what_the_runtime_answers(containerd: Containerd) -> None:
    """With its version, at the socket from the settings."""
    command = [sys.executable, "-m", "lanner", "-o", f"collector.cri_sockets=[{containerd.socket}]", "doctor"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)

    assert "containerd 1." in " ".join(done.stdout.split())
    assert str(containerd.socket) in "".join(done.stdout.split())
