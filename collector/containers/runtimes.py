"""The runtimes that a collector queries: to support another one, add a line."""

from collections.abc import Sequence
from pathlib import Path

from collector.containers.cri.containerd import Containerd
from collector.containers.cri.runtime import SOCKETS, Cri
from collector.containers.docker.engine import Docker
from collector.containers.runtime import ContainerRuntime


def runtimes(docker: Path, podman: Path, cri: Sequence[Path] = ()) -> list[ContainerRuntime]:
    """Return the runtimes in the order in which they are queried.

    Args:
        docker: Docker's socket.
        podman: Podman's socket.
        cri: sockets of runtimes that speak CRI; if empty, the usual ones that exist.
    """
    return [Cri(cri or SOCKETS), Containerd(), Docker(docker), Docker(podman, "podman")]
