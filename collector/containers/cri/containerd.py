"""Inspects containers that containerd runs without CRI, such as those of ctr and nerdctl, through its own API."""

from dataclasses import replace
from pathlib import Path

from collector.containers.bundles.bundles import Bundle
from collector.containers.bundles.facts import with_image
from collector.containers.cri.protobuf import Message, encode
from collector.containers.identity.naming import ContainerName
from collector.containers.json_values import bounded_labels
from collector.containers.runtime import ContainerNotFound, ContainerRuntime, RuntimeUnavailable
from schemas.batch import Container
from schemas.encoding.batch_limits import is_clock

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
    from collector.containers.cri.grpc import call  # noqa: PLC0415 - 2 MB that a host without such runtimes saves

    request = encode([(1, identifier)])
    answer = call(path, f"/containerd.services.{service}/Get", request, TIMEOUT, [("containerd-namespace", namespace)])
    try:
        return Message(answer)
    except ValueError as error:
        raise RuntimeUnavailable(f"{path}: invalid response: {error}") from error
