"""The interface of container runtimes for the look-up, the ways in which it may fail, and their sockets."""

import re
import socket
import time
from pathlib import Path
from typing import Any, Protocol, Self

from collector.containers.bundles import Bundle
from collector.containers.values import MAX_BYTES, ResponseTooLarge
from collector.processes.container_names import ContainerName
from collector.procfs.foreign_files import closing, open_made_by_root
from collector.procfs.parse import parse_cgroup
from collector.procfs.reading import read_file
from foundation.errors import LannerError
from schemas.batch import Container

_MAX_CGROUP = 1 << 14
_MAX_RECEIVED = MAX_BYTES + (1 << 20)
"""Bytes of an answer and of what its protocol adds."""
_THROUGH_A_ROOT = re.compile("(/proc/[0-9]+/root)(/.*)")


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

        Raises:
            ContainerNotFound: the runtime doesn't know the container.
            RuntimeUnavailable: the runtime couldn't be queried.
        """


def confirms(name: ContainerName, pid: int | None, proc: Path) -> bool:
    """Return whether a cgroup belongs to the container with this first process, as the runtime numbers it.

    If the container has no process left, or its runtime runs in another pid namespace, the cgroup's location decides.
    """
    text = None if pid is None or not name.cgroup else read_file(f"{proc}/{pid}/cgroup", _MAX_CGROUP)
    path = None if text is None else parse_cgroup(text)
    if path is None or path.startswith("/.."):
        return name.is_certain
    return path == name.cgroup or path.startswith(f"{name.cgroup}/")


class RuntimeConnection(socket.socket):
    """A connection to a runtime, with limits for all that is sent and received; it ends so many seconds from now."""

    def __init__(self, timeout: float) -> None:
        super().__init__(socket.AF_UNIX, socket.SOCK_STREAM)
        self._until = time.monotonic() + timeout
        self._left = _MAX_RECEIVED
        self._hurry()

    @classmethod
    def to(cls, path: Path, timeout: float, *, is_configured: bool = False) -> Self:
        """Connect to a runtime's socket.

        Whoever listens there is believed about any container. So only root may be able to have put it there, unless the
        operator named it.

        Args:
            path: the socket, which may be below a process's root: /proc/PID/root.
            timeout: seconds for the whole connection.
            is_configured: whether the operator named it.

        Raises:
            OSError: there is no such socket, nothing listens, or others than root can replace it.
        """
        connection = cls(timeout)
        try:
            if is_configured:
                connection.connect(str(path))
            else:
                through = _THROUGH_A_ROOT.fullmatch(str(path))
                root, below = ("/", str(path)) if through is None else through.groups()
                with closing(open_made_by_root(below, root)) as descriptor:
                    connection.connect(f"/proc/self/fd/{descriptor}")
        except OSError:
            connection.close()
            raise
        return connection

    def sendall(self, *arguments: Any) -> None:
        """Send all, within the time that is left."""
        self._hurry()
        super().sendall(*arguments)

    def recv(self, *arguments: Any) -> bytes:
        """Receive, within the limits; raises ResponseTooLarge."""
        self._hurry()
        received = super().recv(*arguments)
        self._count(len(received))
        return received

    def recv_into(self, *arguments: Any) -> int:
        """Receive into a buffer, within the limits; raises ResponseTooLarge."""
        self._hurry()
        received = super().recv_into(*arguments)
        self._count(received)
        return received

    def _hurry(self) -> None:
        left = self._until - time.monotonic()
        if left <= 0:
            raise TimeoutError("timed out")
        self.settimeout(left)

    def _count(self, received: int) -> None:
        self._left -= received
        if self._left < 0:
            raise ResponseTooLarge(f"more than {MAX_BYTES} bytes")
