"""Builds a container's facts from the responses of a CRI runtime: pure functions over their fields.

Source: the field numbers in k8s.io/cri-api's pkg/apis/runtime/v1/api.proto, checked at v0.34.
"""

from dataclasses import replace

from collector.containers.bundles.facts import container_from, pod_labels, with_image
from collector.containers.cri.protobuf import Message, encode
from collector.containers.decoding import TooLarge, decoded
from collector.containers.identity.naming import ContainerName
from collector.containers.images import is_image_id, split_image
from collector.containers.json_values import Json, bounded_labels, bounded_mounts, flag, object_of, text
from schemas.batch import Container, Mount
from schemas.encoding.batch_limits import is_clock

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
        """What the runtime adds when asked verbosely; differs between runtimes."""
        self.is_truncated = not is_verbose
        """Whether the runtime has more than could be read."""
        info = next((entry.data(2) for entry in response.messages(2) if entry.text(1) == "info"), b"{}")
        try:
            found = decoded(info)
        except TooLarge:
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
    """Build a container's facts.

    The OCI specification in the response has the image's name as the pod requested it. The status has another one if
    two names share an image id.

    Args:
        name: what its cgroup path reveals.
        response: the response about the container.
        sandbox: the response about its pod sandbox; None if the runtime has forgotten it.
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
    """Build the facts of a pod sandbox's own container, which are those of its pod."""
    status = response.status
    metadata = status.message(2)
    return _with_sandbox(
        replace(
            _base(name, response),
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
