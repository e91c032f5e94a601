"""Parses Docker's inspect responses: pure functions over their JSON.

Whoever built the image chooses labels and names, so every value is type-checked and bounded.
"""

import re
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime

from collector.containers.identity.naming import ContainerName
from collector.containers.images import ImageName, split_image
from collector.containers.json_values import Json, bounded_labels, bounded_mounts, flag, object_of, objects, text, texts
from schemas.batch import Container, Mount
from schemas.encoding.batch_limits import is_clock

_POD_NAME = "io.kubernetes.pod.name"
_POD_NAMESPACE = "io.kubernetes.pod.namespace"
_POD_UID = "io.kubernetes.pod.uid"
_SANDBOX_ID = "io.kubernetes.sandbox.id"
_KIND = "io.kubernetes.docker.type"
_KUBELETS_OWN = ("io.kubernetes.", "annotation.")

_TIME = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?(Z|[+-]\d\d:\d\d)\Z")


def container_from(
    name: ContainerName,
    inspected: Json,
    image: Json | None = None,
    sandbox: Json | None = None,
    kind: str = "docker",
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
        pod_labels=_pod_labels(labels if is_sandbox or sandbox is None else _labels(sandbox)) if is_pod else None,
    )


def container_from_entry(name: ContainerName, entry: Json) -> Container:
    """Build what the list of containers shows of one; it lacks the digest, the start and what HostConfig has.

    Args:
        name: what its cgroup path reveals.
        entry: the container's entry in the response to GET /containers/json.

    Source: the Docker Engine API's ContainerSummary.
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
    match = _TIME.match(text(object_of(inspected, "State"), "StartedAt") or "")
    if match is None:
        return None
    zone = "+00:00" if match[3] == "Z" else match[3]
    try:
        parsed = datetime.fromisoformat(match[1] + zone)
    except ValueError:
        return None
    whole = parsed - datetime(1970, 1, 1, tzinfo=UTC)
    seconds = whole.days * 86_400 + whole.seconds
    start = seconds * 1_000_000_000 + int((match[2] or "").ljust(9, "0"))
    return start if seconds > 0 and is_clock(start) else None


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


def _pod_labels(labels: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    return tuple(sorted((key, value) for key, value in labels.items() if not key.startswith(_KUBELETS_OWN)))
