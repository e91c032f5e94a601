"""Docker as a container runtime: requests to its socket, and facts from its JSON by pure functions.

Whoever built the image chooses labels and names, so every value is type-checked and bounded.
"""

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

from collector.containers.bundle_facts import MOBY, pod_labels
from collector.containers.bundles import Bundle
from collector.containers.protocol import ContainerNotFound, RuntimeUnavailable, confirms
from collector.containers.values import (
    ImageName,
    Json,
    ResponseTooLarge,
    bounded_labels,
    bounded_mounts,
    decoded,
    flag,
    object_of,
    objects,
    split_image,
    text,
    texts,
)
from collector.processes.container_names import ContainerName
from foundation.quantities import NANOSECONDS, from_rfc3339
from schemas.batch import Container, Mount
from schemas.encoding.limits import is_clock

_OK, _NOT_FOUND = 200, 404
_POD_NAME = "io.kubernetes.pod.name"
_POD_NAMESPACE = "io.kubernetes.pod.namespace"
_POD_UID = "io.kubernetes.pod.uid"
_SANDBOX_ID = "io.kubernetes.sandbox.id"
_KIND = "io.kubernetes.docker.type"
_KUBELETS_OWN = ("io.kubernetes.", "annotation.")


def container_from(
    name: ContainerName, inspected: Json, image: Json | None = None, sandbox: Json | None = None, kind: str = "docker"
) -> Container:
    """Build a container's facts.

    Args:
        name: what its cgroup path reveals.
        inspected: response to GET /containers/ID/json.
        image: response to GET /images/ID/json, for the digest and for containers started by image id.
        sandbox: response for the container whose network it shares, for the address and the pod's labels.
        kind: the runtime's name, as Falco's container.type.

    Source: the Docker Engine API's ContainerInspect and ImageInspect; label names as the kubelet sets them.
    """
    config, host = object_of(inspected, "Config"), object_of(inspected, "HostConfig")
    labels = _labels(inspected)
    reference = text(config, "Image") or ""
    image_id = (text(inspected, "Image") or "").removeprefix("sha256:")
    parts = _image_parts(reference, image_id, image)
    is_sandbox = labels.get(_KIND) == "podsandbox"
    is_pod = _POD_NAME in labels
    mounts, is_truncated = bounded_mounts(_mount(each) for each in objects(inspected, "Mounts"))
    return Container(
        id=name.id,
        full_id=name.full_id,
        type=kind,
        name=(text(inspected, "Name") or "").removeprefix("/") or None,
        image=reference or None,
        image_id=image_id or None,
        image_repository=parts.repository or None,
        image_tag=parts.tag,
        image_digest=parts.digest or _digest(parts.repository, image),
        privileged=flag(host, "Privileged"),
        start_ts=started_at(inspected),
        ip=_address(inspected) or (None if sandbox is None else _address(sandbox)),
        user=text(config, "User") or None,
        host_pid=text(host, "PidMode") == "host",
        host_network=text(host, "NetworkMode") == "host",
        host_ipc=text(host, "IpcMode") == "host",
        is_truncated=is_truncated,
        mounts=mounts,
        labels=tuple(sorted(labels.items())),
        pod_name=labels.get(_POD_NAME),
        pod_uid=labels.get(_POD_UID) or name.pod_uid,
        pod_namespace=labels.get(_POD_NAMESPACE),
        pod_sandbox_id=name.full_id if is_sandbox else labels.get(_SANDBOX_ID),
        pod_labels=pod_labels(labels if is_sandbox or sandbox is None else _labels(sandbox), _KUBELETS_OWN)
        if is_pod
        else None,
    )


def container_from_entry(name: ContainerName, entry: Json) -> Container:
    """Build what the list of containers shows of one; it lacks the digest, the start and what HostConfig has.

    Source: the Docker Engine API's ContainerSummary, in the response to GET /containers/json.
    """
    # A container that another one links to has the name of the link, too.
    own = next((each for each in texts(entry, "Names") if each.count("/") == 1), None)
    inspected = {
        **entry,
        "Name": own,
        "Image": entry.get("ImageID"),
        "Config": {"Image": entry.get("Image"), "Labels": entry.get("Labels")},
    }
    return replace(container_from(name, inspected), host_pid=None, host_ipc=None)


def shares_network_with(inspected: Json) -> str | None:
    """Return the id of the container whose network or pod this one shares; None if it has its own."""
    mode = text(object_of(inspected, "HostConfig"), "NetworkMode") or ""
    labels = _labels(inspected)
    other = mode.removeprefix("container:") if mode.startswith("container:") else labels.get(_SANDBOX_ID, "")
    return other if re.fullmatch("[0-9a-f]{64}", other) and other != text(inspected, "Id") else None


def image_of(inspected: Json) -> str | None:
    """Return the image's id, for looking up its digest."""
    image = text(inspected, "Image") or ""
    return image if re.fullmatch("sha256:[0-9a-f]{64}", image) else None


def init_pid(inspected: Json) -> int | None:
    """Return the first process's pid as Docker numbers it; None if the container isn't running."""
    pid = object_of(inspected, "State").get("Pid")
    return pid if type(pid) is int and pid > 0 else None


def started_at(inspected: Json) -> int | None:
    """Return the start time in epoch nanoseconds; None before the container runs."""
    start = from_rfc3339(text(object_of(inspected, "State"), "StartedAt") or "")
    return start if start is not None and start >= NANOSECONDS and is_clock(start) else None


def _image_parts(reference: str, image_id: str, image: Json | None) -> ImageName:
    bare = reference.removeprefix("sha256:")
    if bare and not (image_id.startswith(bare) and len(bare) >= 12):
        return split_image(reference)
    # Started by image id: the first name is the one that people use.
    names = [] if image is None else texts(image, "RepoTags") or texts(image, "RepoDigests")
    return split_image(names[0]) if names else ImageName("", None, None)


def _digest(repository: str, image: Json | None) -> str | None:
    digests = [] if image is None else [split_image(each) for each in texts(image, "RepoDigests")]
    for each in digests:
        if each.repository == repository:
            return each.digest
    return digests[0].digest if digests else None


def _address(inspected: Json) -> str | None:
    settings = object_of(inspected, "NetworkSettings")
    address = text(settings, "IPAddress")
    if address:
        return address
    networks = object_of(settings, "Networks")
    for name in sorted(networks):
        address = text(object_of(networks, name), "IPAddress")
        if address:
            return address
    return None


def _mount(mount: Json) -> Mount:
    return Mount(
        source=text(mount, "Source") or "",
        dest=text(mount, "Destination") or "",
        mode=text(mount, "Mode") or "",
        rw=flag(mount, "RW") is True,
        propagation=text(mount, "Propagation") or "",
    )


def _labels(inspected: Json) -> dict[str, str]:
    return bounded_labels(object_of(object_of(inspected, "Config"), "Labels"))


DEFAULT_SOCKET = Path("/var/run/docker.sock")
PODMAN_SOCKET = Path("/run/podman/podman.sock")
TIMEOUT = 2.0
"""Seconds per query. Docker answers an inspect of a starting container only once it has started."""


class Docker:
    """One daemon, docker or podman. Each inspect opens a new connection. timeout: seconds that one query may take."""

    def __init__(
        self, path: Path = DEFAULT_SOCKET, kind: str = "docker", timeout: float = TIMEOUT, proc: Path = Path("/proc")
    ) -> None:
        self._path = path
        self._kind = kind
        self._timeout = timeout
        self._proc = proc

    def answers(self, name: ContainerName) -> bool:
        """Return whether a container may be this daemon's; the kubelet's plain cgroups don't name their runtime."""
        is_any_pods = self._kind == "docker" and name.type == "containerd" and name.pod_uid is not None
        return name.type == self._kind or is_any_pods

    def inspect(self, name: ContainerName, bundle: Bundle | None = None) -> Container:
        """Inspect a container.

        Raises:
            ContainerNotFound: the daemon doesn't know it, doesn't know it yet, runs its first process in another
                cgroup, or leaves it to containerd.
            RuntimeUnavailable: the daemon can't be reached, times out or gives an invalid response.
            ResponseTooLarge: its response is too large.
        """
        if bundle is not None and bundle.namespace not in {None, MOBY}:
            raise ContainerNotFound(f"{name.full_id} is containerd's")
        # Podman works without a socket, and a pod is more likely another runtime's.
        if (self._kind != "docker" or name.type != self._kind) and not self._path.is_socket():
            raise ContainerNotFound(f"nothing listens at {self._path}")
        inspected = self._get(f"/containers/{name.full_id}/json")
        if inspected.get("Id") != name.full_id or not confirms(name, init_pid(inspected), self._proc):
            raise ContainerNotFound(f"{name.full_id} is not in {name.cgroup}")
        image_id, shared = image_of(inspected), shares_network_with(inspected)
        image = None if image_id is None else self._get_if_known(f"/images/{image_id}/json")
        sandbox = None if shared is None else self._get_if_known(f"/containers/{shared}/json")
        return container_from(name, inspected, image, sandbox, self._kind)

    def listed(self, name: ContainerName) -> Container | None:
        """Return what the list of containers shows of one, at once: an inspect waits until it has started."""
        if name.type != "docker" or not name.is_certain:
            return None
        filters = quote(json.dumps({"id": [name.full_id]}))
        try:
            value = self._load(f"/containers/json?all=true&filters={filters}")
        except (ContainerNotFound, RuntimeUnavailable, ResponseTooLarge):
            return None
        found = [each for each in objects({"all": value}, "all") if each.get("Id") == name.full_id]
        return container_from_entry(name, found[0]) if found else None

    def version(self) -> str:
        """Return the daemon's version. Raises RuntimeUnavailable."""
        try:
            return text(self._get("/version"), "Version") or "of an unknown version"
        except ContainerNotFound as error:
            raise RuntimeUnavailable(f"{self._path}: the daemon doesn't offer Docker's API") from error

    def _get_if_known(self, path: str) -> dict[str, Any] | None:
        try:
            return self._get(path)
        except (ContainerNotFound, RuntimeUnavailable, ResponseTooLarge):
            # The rest doesn't depend on it.
            return None

    def _get(self, path: str) -> dict[str, Any]:
        value = self._load(path)
        if not isinstance(value, dict):
            raise RuntimeUnavailable(f"{self._path}: not a JSON object for {path}")
        return value

    def _load(self, path: str) -> Any:
        from collector.containers.unix_http import get  # noqa: PLC0415 - 3 MB that a host without Docker saves

        is_configured = self._path not in {DEFAULT_SOCKET, PODMAN_SOCKET}
        try:
            status, body = get(self._path, path, self._timeout, is_configured=is_configured)
        except (OSError, ValueError) as error:
            raise RuntimeUnavailable(f"{self._path}: {error}") from error
        if status == _NOT_FOUND:
            raise ContainerNotFound(path)
        if status != _OK:
            raise RuntimeUnavailable(f"{self._path}: HTTP status {status} for {path}")
        try:
            return decoded(body)
        except ValueError as error:
            raise RuntimeUnavailable(f"{self._path}: invalid JSON for {path}") from error
        except ResponseTooLarge as error:
            raise ResponseTooLarge(f"{self._path}: {path}: {error}") from error
