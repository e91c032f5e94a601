"""What every container runtime offers to the look-up, and the ways in which it may fail."""

from pathlib import Path
from typing import Protocol

from collector.containers.bundles.bundles import Bundle
from collector.containers.identity.naming import ContainerName
from collector.processes.procfs.bounded_read import read_file
from collector.processes.procfs.parse import parse_cgroup
from schemas.batch import Container
from schemas.errors import LannerError

_MAX_CGROUP = 1 << 14


class ContainerNotFound(LannerError):
    """The runtime doesn't know the container, or has it in another cgroup."""


class RuntimeUnavailable(LannerError):
    """The runtime couldn't be queried, or gave an invalid response."""


class ContainerRuntime(Protocol):
    """A container runtime that can be queried; implement it to support another one."""

    def answers(self, name: ContainerName) -> bool:
        """Return whether this runtime may have the container."""

    def listed(self, _: ContainerName) -> Container | None:
        """Return what the runtime states of a container that it still starts; None if its inspect doesn't wait."""
        return None

    def inspect(self, name: ContainerName, bundle: Bundle | None) -> Container:
        """Inspect a container within bounded time, on any thread.

        Args:
            name: the container.
            bundle: what its bundle revealed; None if none was found.

        Raises:
            ContainerNotFound: the runtime doesn't know the container.
            RuntimeUnavailable: the runtime couldn't be queried.
        """


def confirms(name: ContainerName, pid: int | None, proc: Path) -> bool:
    """Return whether a cgroup belongs to the container with this first process.

    If the container has no process left, or its runtime runs in another pid namespace, the cgroup's location decides.

    Args:
        name: the container.
        pid: its first process, as the runtime numbers it; None if it isn't running.
        proc: where procfs is mounted.
    """
    text = None if pid is None or not name.cgroup else read_file(f"{proc}/{pid}/cgroup", _MAX_CGROUP)
    path = None if text is None else parse_cgroup(text)
    if path is None or path.startswith("/.."):
        return name.is_certain
    return path == name.cgroup or path.startswith(f"{name.cgroup}/")
