"""Pods in a container, as in kind: a privileged container runs containerd, which runs containers."""

import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from collector.settings import CollectorSettings
from tests.live.collector.test_container_events import run_in_background
from tests.live.collector.watching import watching
from tests.live.containerd import BUSYBOX, DAEMON, PAUSE, SETTINGS, write_image
from tests.live.containers import Docker, write_busybox_tar
from tests.live.dockerd import PRIVILEGED_RUNTIME
from tests.live.kubelet import Kubelet
from tests.live.runtime import privileged_runtime
from tests.roots import ROOTS

pytestmark = pytest.mark.containers

LIBRARIES = "/usr/lib/x86_64-linux-gnu"
PROGRAMS = (DAEMON, "/usr/bin/containerd-shim-runc-v2", "/usr/sbin/runc", "/usr/lib/python3.11", "/usr/bin/python3")
"""What the container takes from this machine."""


@pytest.fixture
def node(docker: Docker) -> Iterator[tuple[str, Path]]:
    """Run containerd in a privileged container; yield the container's id and containerd's socket."""
    with tempfile.TemporaryDirectory(prefix="lk-", dir=ROOTS) as folder:
        base = Path(folder)
        runtime = privileged_runtime(base)
        runtime.write_text(runtime.read_text().replace(runtime.read_text().splitlines()[0], "#!/usr/bin/python3 -I"))
        (base / "config.toml").write_text(SETTINGS.format(base=base, pause=PAUSE, runtime=runtime))
        mounts = [f"--volume={Path(path).resolve()}:{path}:ro" for path in PROGRAMS]
        options = [
            "--privileged",
            "--runtime",
            PRIVILEGED_RUNTIME,
            "--network=host",
            f"--volume={base}:{base}",
            *mounts,
        ]
        command = f"LD_LIBRARY_PATH=/libraries exec {DAEMON} --config {base}/config.toml"
        image, libraries = docker.debian(), f"--volume={LIBRARIES}:/libraries:ro"
        run = ("run", "--detach", *options, libraries, image, "sh", "-c", command)
        container = docker.daemon.client(*run).stdout.strip()
        try:
            _wait_for(base / "containerd.sock")
            _import_images(base)
            yield container, base / "containerd.sock"
        finally:
            docker.daemon.client("rm", "--force", container, check=False)


def test_a_pod_in_a_privileged_container_has_its_names(docker: Docker, node: tuple[str, Path]) -> None:
    """Its shim is in the outer container, and so are its bundles."""
    outer, socket = node
    kubelet = Kubelet(socket, f"/docker/{outer}/kubelet/kubepods/besteffort")

    def act() -> None:
        with kubelet.pod("web-1", "prod") as pod:
            container = pod.start("nginx", "/bin/sleep", "60")
            time.sleep(1)
            pod.exec(container, "/bin/cat", "/etc/group")

    with watching("open", "openat", settings=CollectorSettings(docker_socket=docker.socket)) as watch:
        run_in_background(act, watch.settle)
        event = watch.events(fd__name="/etc/group", proc__name="cat")[-1]

    assert (event["container.type"], event["container.name"]) == ("containerd", "nginx")
    assert (event["container.image"], event["k8s.pod.name"], event["k8s.ns.name"]) == (BUSYBOX, "web-1", "prod")
    assert event["container.full_id"] != outer


def _wait_for(socket: Path) -> None:
    deadline = time.monotonic() + 30
    while not socket.is_socket():
        assert time.monotonic() < deadline, "containerd did not start in the container"
        time.sleep(0.1)


def _import_images(base: Path) -> None:
    layer, archive = base / "layer.tar", base / "image.tar"
    write_busybox_tar(layer)
    for name in (PAUSE, BUSYBOX):
        write_image(archive, layer, name, ["/bin/sleep", "86400"])
        command = ["/usr/bin/ctr", "--address", str(base / "containerd.sock"), "--namespace", "k8s.io"]
        subprocess.run([*command, "images", "import", str(archive)], check=True, capture_output=True, timeout=60)
