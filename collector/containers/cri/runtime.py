"""Inspects containers over the Kubernetes Container Runtime Interface, as containerd and CRI-O offer it."""

from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

from collector.containers.bundles.bundles import Bundle
from collector.containers.cri.messages import (
    StatusResponse,
    container_of_sandbox,
    container_of_status,
    runtime_version,
    status_request,
)
from collector.containers.decoding import TooLarge
from collector.containers.identity.naming import ContainerName
from collector.containers.runtime import ContainerNotFound, ContainerRuntime, RuntimeUnavailable, confirms
from schemas.batch import Container

SOCKETS = tuple(
    map(
        Path,
        (
            "/run/containerd/containerd.sock",
            "/run/crio/crio.sock",
            "/run/k3s/containerd/containerd.sock",
            "/run/k0s/containerd.sock",
            "/var/snap/microk8s/common/run/containerd.sock",
            "/run/cri-dockerd.sock",
        ),
    )
)
"""Where runtimes listen, if neither a shim nor the settings name a socket."""
TIMEOUT = 2.0
"""Seconds per call."""

_SERVICE = "/runtime.v1.RuntimeService"
_NAMESPACES = frozenset({None, "k8s.io"})
"""containerd's namespace for CRI; CRI-O has none."""
_CRI_TYPES = frozenset({"containerd", "cri-o"})

T = TypeVar("T")


class Cri(ContainerRuntime):
    """The runtimes on this host that speak CRI, each asked until one knows the container.

    Args:
        sockets: the runtimes' sockets; those that don't exist are passed by.
        timeout: seconds that one call may take.
        proc: where procfs is mounted.
    """

    def __init__(self, sockets: Sequence[Path] = SOCKETS, timeout: float = TIMEOUT, proc: Path = Path("/proc")) -> None:
        self._sockets = tuple(sockets)
        self._is_configured = self._sockets != SOCKETS
        self._timeout = timeout
        self._proc = proc

    def answers(self, name: ContainerName) -> bool:
        """Return whether a container's cgroup is named as such runtimes name it."""
        return name.type in _CRI_TYPES

    def inspect(self, name: ContainerName, bundle: Bundle | None = None) -> Container:
        """Inspect a container or a pod's sandbox.

        Raises:
            ContainerNotFound: no runtime knows it, or runs its first process in another cgroup.
            RuntimeUnavailable: none knows it, and one couldn't be queried.
        """
        if bundle is not None and bundle.namespace not in _NAMESPACES:
            raise ContainerNotFound(f"{name.full_id} is not CRI's")
        failure: RuntimeUnavailable | None = None
        for socket in self._candidates(bundle):
            try:
                return self._inspect(socket, name)
            except ContainerNotFound:
                continue
            except RuntimeUnavailable as error:
                failure = error
        raise failure or ContainerNotFound(f"no runtime knows {name.full_id}")

    def version(self, socket: Path) -> str:
        """Return name and version of the runtime behind a socket. Raises RuntimeUnavailable."""
        try:
            answer = self._call(socket, "Version", b"")
        except ContainerNotFound as error:
            raise RuntimeUnavailable(f"{socket}: {error}") from error
        return self._built(socket, lambda: runtime_version(answer))

    def _candidates(self, bundle: Bundle | None) -> list[Path]:
        own = [Path(bundle.socket)] if bundle is not None and bundle.socket else []
        if own and own[0].is_socket():
            return own
        return [socket for socket in self._sockets if socket.is_socket()] or own

    def _inspect(self, socket: Path, name: ContainerName) -> Container:
        try:
            response = self._status(socket, "ContainerStatus", name.full_id)
        except ContainerNotFound:
            sandbox = self._status(socket, "PodSandboxStatus", name.full_id)
            self._check(name, sandbox)
            return self._built(socket, lambda: container_of_sandbox(name, sandbox))
        self._check(name, response)
        of_pod = None
        if response.sandbox_id is not None:
            with suppress(ContainerNotFound, TooLarge):
                of_pod = self._status(socket, "PodSandboxStatus", response.sandbox_id)
        return self._built(socket, lambda: container_of_status(name, response, of_pod))

    def _check(self, name: ContainerName, response: StatusResponse) -> None:
        # A runtime may take a name for the beginning of another container's id.
        if response.status.text(1) != name.full_id or not confirms(name, response.pid, self._proc):
            raise ContainerNotFound(f"{name.full_id} is not in {name.cgroup}")

    def _status(self, socket: Path, method: str, identifier: str) -> StatusResponse:
        try:
            answer, is_verbose = self._call(socket, method, status_request(identifier)), True
        except TooLarge:
            # Without the specification it is small.
            answer, is_verbose = self._call(socket, method, status_request(identifier, is_verbose=False)), False
        return self._built(socket, lambda: StatusResponse(answer, is_verbose=is_verbose))

    def _built(self, socket: Path, build: Callable[[], T]) -> T:
        try:
            return build()
        except ValueError as error:
            raise RuntimeUnavailable(f"{socket}: invalid response: {error}") from error

    def _call(self, socket: Path, method: str, request: bytes) -> bytes:
        from collector.containers.cri.grpc import call  # noqa: PLC0415 - 2 MB that a host without such runtimes saves

        is_configured = self._is_configured and socket in self._sockets
        return call(socket, f"{_SERVICE}/{method}", request, self._timeout, is_configured=is_configured)
