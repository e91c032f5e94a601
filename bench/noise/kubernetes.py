"""Work on a Kubernetes node of its own: services with probes, rollouts, jobs.

`python -m bench.noise.kubernetes` prints the socket of the node's runtime and the folder of its layers as soon as the
node is ready, and works until it is terminated. All processes of the node descend from it, also those that daemons
leave behind.
"""

import contextlib
import ctypes
import fcntl
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from bench.noise.host import KINDS
from tests.kubernetes.images import workload_images
from tests.kubernetes.node import Node
from tests.kubernetes.programs import programs
from tests.live.debian_image import cache_directory
from tests.live.ordinary_host import QUIET

_PR_SET_CHILD_SUBREAPER = 36


def adopt_orphans() -> None:
    """Make this process the parent of what daemons below it leave behind, so that it is known as part of the work."""
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


@contextlib.contextmanager
def kubernetes_work(folder: Path) -> Iterator[tuple["subprocess.Popen[bytes]", Path, Path]]:
    """Work on a node until the end of the block; yields the process, the runtime's socket and the folder of its layers.

    Args:
        folder: for the node's files.
    """
    programs()  # compiles what is missing, which needs this process's PATH; kubectl opens every folder in it
    command = [sys.executable, "-m", "bench.noise.kubernetes"]
    environment = {**os.environ, "PATH": QUIET["PATH"], "TMPDIR": str(folder)}
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            socket, layers = map(Path, process.stdout.readline().decode().split())
            yield process, socket, layers
        finally:
            process.terminate()


def names_of_node(layers: Path) -> Iterator[tuple[str, str]]:
    """Yield paths of the node's programs, and where packages put them, which decides whether rules trust them."""
    folder = programs()
    yield str(layers), "/var/lib/containerd"
    yield str(folder / "cni"), "/opt/cni/bin"
    yield str(folder), "/usr/bin"
    yield "https://kubernetes.default.svc", "kubernetes.default.svc"


PACKAGES = {
    "/usr/bin/kubelet": "kubelet",
    "/usr/bin/kubectl": "kubectl",
    "/usr/bin/crictl": "cri-tools",
    "/usr/bin/etcd": "etcd-server",
    "/opt/cni/bin/bridge": "kubernetes-cni",
    "/opt/cni/bin/host-local": "kubernetes-cni",
    "/opt/cni/bin/loopback": "kubernetes-cni",
    "/opt/cni/bin/portmap": "kubernetes-cni",
    **{f"/usr/bin/kube-{name}": "kubernetes-master" for name in ("apiserver", "controller-manager", "scheduler")},
}
"""The packages that bring a node's programs, by the paths that they have there; here, they are compiled."""


def main() -> None:
    """Start a node, and work on it."""
    adopt_orphans()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())
    found, archives = programs(), workload_images()
    with (cache_directory() / "kubernetes.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with Node(found) as node:
            node.load(archives)
            subprocess.run(node.command("bash", KINDS / "kubernetes.sh", node.socket, node.layers), check=True)


if __name__ == "__main__":
    main()
