"""Runtimes with a CRI socket: requests to it, and a container's facts from the responses by pure functions.

Source: the field numbers in k8s.io/cri-api's pkg/apis/runtime/v1/api.proto, checked at v0.34.
"""

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from collector.containers.bundle_facts import container_from, pod_labels, with_image
from collector.containers.bundles import Bundle
from collector.containers.protobuf import Message, encode
from collector.containers.protocol import ContainerNotFound, ContainerRuntime, RuntimeUnavailable, confirms
from collector.containers.values import (
    Json,
    ResponseTooLarge,
    bounded_labels,
    bounded_mounts,
    decoded,
    flag,
    is_image_id,
    object_of,
    split_image,
    text,
)
from collector.processes.container_names import ContainerName
from schemas.batch import Container, Mount
from schemas.encoding.limits import is_clock

TIMEOUT = 2.0
"""Seconds per call."""
DEFAULT_SOCKET = "/run/containerd/containerd.sock"

_OTHERS = frozenset({None, "k8s.io", "moby"})
"""Namespaces of containers that CRI or Docker know better; None for those of CRI-O and Podman."""
_NAME_LABEL = "nerdctl/name"
_TYPES = frozenset({"containerd", "unknown"})


class Containerd(ContainerRuntime):
    """The containerd daemons on this host, each found by the bundles that it wrote."""

    def answers(self, name: ContainerName) -> bool:
        """Return whether a container may be containerd's."""
        return name.type in _TYPES

    def inspect(self, name: ContainerName, bundle: Bundle | None = None) -> Container:
        """Inspect a container that has a bundle in a namespace other than CRI's.

        Raises:
            ContainerNotFound: it has none, or containerd doesn't know it.
            RuntimeUnavailable: containerd couldn't be queried.
        """
        if bundle is None or bundle.namespace in _OTHERS:
            raise ContainerNotFound(f"{name.full_id} has no bundle of containerd's")
        path = Path(bundle.socket or DEFAULT_SOCKET)
        container = _call(path, "containers.v1.Containers", name.full_id, bundle.namespace or "").message(1)
        facts = with_image(bundle.facts, container.text(3))
        labels = bounded_labels(container.mapping(2))
        created = container.message(8)
        started = created.integer(1) * 1_000_000_000 + created.integer(2)
        return replace(
            facts,
            name=labels.get(_NAME_LABEL) or name.full_id,
            image_digest=facts.image_digest or _digest(path, container.text(3), bundle.namespace or ""),
            start_ts=started if is_clock(started) else None,
            labels=tuple(sorted(labels.items())),
        )


def _digest(path: Path, image: str, namespace: str) -> str | None:
    try:
        return _call(path, "images.v1.Images", image, namespace).message(1).message(3).text(2) or None
    except (ContainerNotFound, RuntimeUnavailable):
        return None


def _call(path: Path, service: str, identifier: str, namespace: str) -> Message:
    """Get an object of a service by its name.

    Source: containers.proto and images.proto in containerd's api/services; the namespace is passed as gRPC metadata.
    """
    from collector.containers.grpc import call  # noqa: PLC0415 - 2 MB that a host without such runtimes saves

    request = encode([(1, identifier)])
    answer = call(path, f"/containerd.services.{service}/Get", request, TIMEOUT, [("containerd-namespace", namespace)])
    try:
        return Message(answer)
    except ValueError as error:
        raise RuntimeUnavailable(f"{path}: invalid response: {error}") from error


_NODE = 2
"""NamespaceMode: the host's."""
_PROPAGATIONS = {1: "rslave", 2: "rshared"}


def status_request(identifier: str, *, is_verbose: bool = True) -> bytes:
    """Encode a ContainerStatusRequest or PodSandboxStatusRequest, whose fields have the same numbers."""
    return encode([(1, identifier), (2, int(is_verbose))])


def runtime_version(response: bytes) -> str:
    """Return name and version of a runtime, from a VersionResponse."""
    fields = Message(response)
    return f"{fields.text(2)} {fields.text(3)}".strip()


class StatusResponse:
    """A decoded ContainerStatusResponse or PodSandboxStatusResponse.

    Args:
        data: the encoded response.
        is_verbose: whether more was requested than the status.

    Raises:
        ValueError: the data is not such a message.
    """

    def __init__(self, data: bytes, *, is_verbose: bool = True) -> None:
        response = Message(data)
        self.status = response.message(1)
        self.info: Json = {}
        """The runtime's additions to a verbose answer; they differ between runtimes."""
        self.is_truncated = not is_verbose
        """True if the runtime has more than could be read."""
        info = next((entry.data(2) for entry in response.messages(2) if entry.text(1) == "info"), b"{}")
        try:
            found = decoded(info)
        except ResponseTooLarge:
            self.is_truncated = True
        except ValueError:
            # Not what a runtime writes; the status has the most important facts.
            pass
        else:
            self.info = found if isinstance(found, dict) else {}

    @property
    def pid(self) -> int | None:
        """The first process, as the runtime numbers it; None if it isn't running."""
        pid = self.info.get("pid")
        return pid if type(pid) is int and pid > 0 else None

    @property
    def sandbox_id(self) -> str | None:
        """The id of a container's pod sandbox."""
        return text(self.info, "sandboxID")


def container_of_status(name: ContainerName, response: StatusResponse, sandbox: StatusResponse | None) -> Container:
    """Build a container's facts from the response about it, and that about its sandbox unless the runtime forgot that.

    The OCI specification in the response has the image's name as the pod requested it. The status has another one if
    two names share an image id.
    """
    status = response.status
    base = _base(name, response)
    labels = status.mapping(12)
    spec = object_of(response.info, "config")
    if base.image is None:
        base = with_image(base, status.message(8).text(18) or status.message(8).text(1))
    identifiers = (status.text(17), text(object_of(spec, "image"), "image") or "", status.text(9))
    mounts, has_more_mounts = bounded_mounts(_mount(each) for each in status.messages(14))
    container = replace(
        base,
        name=status.message(2).text(1) or base.name,
        image_id=next((each.removeprefix("sha256:") for each in identifiers if is_image_id(each)), base.image_id),
        image_digest=split_image(status.text(9)).digest or base.image_digest,
        privileged=_privileged(response.info, base),
        start_ts=_clock(status.integer(5)),
        mounts=mounts,
        is_truncated=response.is_truncated or has_more_mounts,
        labels=tuple(sorted(bounded_labels(labels).items())),
        pod_name=labels.get("io.kubernetes.pod.name") or base.pod_name,
        pod_namespace=labels.get("io.kubernetes.pod.namespace") or base.pod_namespace,
        pod_uid=labels.get("io.kubernetes.pod.uid") or base.pod_uid,
        pod_sandbox_id=response.sandbox_id or base.pod_sandbox_id,
    )
    return container if sandbox is None else _with_sandbox(container, sandbox)


def container_of_sandbox(name: ContainerName, response: StatusResponse) -> Container:
    """Build the facts of a pod sandbox's own container, which are those of its pod.

    Its image is among what containerd and CRI-O add to a verbose response.
    """
    status = response.status
    metadata = status.message(2)
    base = _base(name, response)
    return _with_sandbox(
        replace(
            base if base.image is not None else with_image(base, text(response.info, "image")),
            name=metadata.text(1) or None,
            start_ts=_clock(status.integer(4)),
            labels=tuple(sorted(bounded_labels(status.mapping(7)).items())),
            pod_name=metadata.text(1) or None,
            pod_uid=metadata.text(2) or name.pod_uid,
            pod_namespace=metadata.text(3) or None,
            pod_sandbox_id=status.text(1) or name.full_id,
        ),
        response,
    )


def _base(name: ContainerName, response: StatusResponse) -> Container:
    found = container_from(name, object_of(response.info, "runtimeSpec"))
    return replace(found, is_truncated=found.is_truncated or response.is_truncated)


def _with_sandbox(container: Container, sandbox: StatusResponse) -> Container:
    status = sandbox.status
    options = status.message(6).message(1).message(2)
    return replace(
        container,
        ip=status.message(5).text(1) or container.ip,
        host_network=options.integer(1) == _NODE,
        host_pid=options.integer(2) == _NODE,
        host_ipc=options.integer(3) == _NODE,
        pod_labels=pod_labels(bounded_labels(status.mapping(7))),
    )


def _privileged(info: Json, base: Container) -> bool | None:
    """Return whether a container is privileged: CRI-O states it, containerd repeats the request."""
    stated = flag(info, "privileged")
    if stated is not None:
        return stated
    linux = object_of(object_of(info, "config"), "linux")
    return flag(object_of(linux, "security_context"), "privileged") or base.privileged


def _clock(nanoseconds: int) -> int | None:
    return nanoseconds if nanoseconds > 0 and is_clock(nanoseconds) else None


def _mount(mount: Message) -> Mount:
    return Mount(
        source=mount.text(2),
        dest=mount.text(1),
        mode="",
        rw=mount.integer(3) == 0,
        propagation=_PROPAGATIONS.get(mount.integer(5), "private"),
    )


SOCKETS = tuple(
    Path("/", place)
    for place in (
        *("run/containerd/containerd.sock", "run/crio/crio.sock", "run/k3s/containerd/containerd.sock"),
        *("run/k0s/containerd.sock", "var/snap/microk8s/common/run/containerd.sock", "run/cri-dockerd.sock"),
    )
)
"""Where runtimes listen, if neither a shim nor the settings name a socket."""

_SERVICE = "/runtime.v1.RuntimeService"
_NAMESPACES = frozenset({None, "k8s.io"})
"""containerd's namespace for CRI; CRI-O has none."""
_CRI_TYPES = frozenset({"containerd", "cri-o"})

T = TypeVar("T")


class Cri(ContainerRuntime):
    """The runtimes on this host that speak CRI, each asked until one knows the container.

    Sockets that don't exist are passed by. timeout: seconds that one call may take.
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
            with suppress(ContainerNotFound, ResponseTooLarge):
                of_pod = self._status(socket, "PodSandboxStatus", response.sandbox_id)
        return self._built(socket, lambda: container_of_status(name, response, of_pod))

    def _check(self, name: ContainerName, response: StatusResponse) -> None:
        # A runtime may take a name for the beginning of another container's id.
        if response.status.text(1) != name.full_id or not confirms(name, response.pid, self._proc):
            raise ContainerNotFound(f"{name.full_id} is not in {name.cgroup}")

    def _status(self, socket: Path, method: str, identifier: str) -> StatusResponse:
        try:
            answer, is_verbose = self._call(socket, method, status_request(identifier)), True
        except ResponseTooLarge:
            # Without the specification it is small.
            answer, is_verbose = self._call(socket, method, status_request(identifier, is_verbose=False)), False
        return self._built(socket, lambda: StatusResponse(answer, is_verbose=is_verbose))

    def _built(self, socket: Path, build: Callable[[], T]) -> T:
        try:
            return build()
        except ValueError as error:
            raise RuntimeUnavailable(f"{socket}: invalid response: {error}") from error

    def _call(self, socket: Path, method: str, request: bytes) -> bytes:
        from collector.containers.grpc import call  # noqa: PLC0415 - 2 MB that a host without such runtimes saves

        is_configured = self._is_configured and socket in self._sockets
        return call(socket, f"{_SERVICE}/{method}", request, self._timeout, is_configured=is_configured)
