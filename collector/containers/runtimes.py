"""The runtimes that a collector queries: to support another one, add a line."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from collector.containers.bundles import is_shim
from collector.containers.cri import SOCKETS, Containerd, Cri
from collector.containers.docker import Docker
from collector.containers.protocol import ContainerRuntime, RuntimeUnavailable

ENGINES = frozenset({"containerd", "crio", "crun", "dockerd", "lxc-start", "podman", "runc", "systemd-nspawn"})
"""Programs that start containers; shims do, too."""


def starts_containers(comm: str) -> bool:
    """Return whether a program of this name starts containers, or belongs to one that does."""
    return comm in ENGINES or is_shim(comm)


@dataclass(frozen=True, slots=True)
class RuntimeAnswer:
    """The answer of a runtime's socket to a request for its version."""

    kind: str
    """Docker, Podman or CRI."""
    socket: Path
    version: str | None
    """None if it didn't answer."""
    failure: str = ""


def versions(docker: Path, podman: Path, cri: Sequence[Path] = ()) -> Iterator[RuntimeAnswer]:
    """Yield what each runtime answers whose socket exists or is configured; arguments as for runtimes()."""
    queries: list[tuple[str, Path, Callable[[], str]]] = [
        *(
            ("CRI", socket, partial(Cri(cri or SOCKETS).version, socket))
            for socket in cri or filter(_is_socket, SOCKETS)
        ),
        *(
            (kind, socket, Docker(socket).version)
            for kind, socket in (("Docker", docker), ("Podman", podman))
            if _is_socket(socket)
        ),
    ]
    for kind, socket, version in queries:
        try:
            yield RuntimeAnswer(kind, socket, version())
        except RuntimeUnavailable as error:
            yield RuntimeAnswer(kind, socket, None, str(error))


def _is_socket(path: Path) -> bool:
    """Return whether there is a socket; if this user may not know, its answer shows why not."""
    try:
        return path.is_socket()
    except PermissionError:
        return True


def runtimes(docker: Path, podman: Path, cri: Sequence[Path] = ()) -> list[ContainerRuntime]:
    """Return the runtimes in the order in which they are queried. cri: if empty, the usual sockets that exist."""
    return [Cri(cri or SOCKETS), Containerd(), Docker(docker), Docker(podman, "podman")]
