"""Parses Docker's inspect responses: pure functions over their JSON.

Whoever built the image chooses labels and names, so every value is type-checked and bounded.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from collector.containers.naming import ContainerName
from schemas.batch import Container, Mount
from schemas.encoding.batch_limits import is_clock

MAX_LABELS = 128
MAX_LABEL_BYTES = 1024
MAX_MOUNTS = 256

_POD_NAME = "io.kubernetes.pod.name"
_POD_NAMESPACE = "io.kubernetes.pod.namespace"
_POD_UID = "io.kubernetes.pod.uid"
_SANDBOX_ID = "io.kubernetes.sandbox.id"
_KIND = "io.kubernetes.docker.type"
_KUBELETS_OWN = ("io.kubernetes.", "annotation.")

_TIME = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?(Z|[+-]\d\d:\d\d)\Z")

Json = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class ImageName:
    """The parts of an image reference such as registry:5000/team/web:1.2@sha256:..."""

    repository: str
    tag: str | None
    digest: str | None


def split_image(reference: str) -> ImageName:
    """Split an image reference; without tag and digest the tag is latest, as for docker run.

    Source: the reference grammar of github.com/distribution/reference.
    """
    rest, _, digest = reference.partition("@")
    folder, slash, last = rest.rpartition("/")
    last, colon, tag = last.partition(":")
    if not colon and not digest:
        tag = "latest"
    return ImageName(folder + slash + last, tag or None, digest or None)


def container_from(
    name: ContainerName, inspected: Json, image: Json | None = None, sandbox: Json | None = None
) -> Container:
    """Build a container's facts.

    Args:
        name: what its cgroup path reveals.
        inspected: response to GET /containers/ID/json.
        image: response to GET /images/ID/json, for the digest and for containers started by image id.
        sandbox: response for the container whose network it shares, for the address and the pod's labels.

    Source: the Docker Engine API's ContainerInspect and ImageInspect; label names as the kubelet sets them.
    """
    config, host = _object(inspected, "Config"), _object(inspected, "HostConfig")
    labels = _labels(config)
    reference = _text(config, "Image") or ""
    image_id = (_text(inspected, "Image") or "").removeprefix("sha256:")
    parts = _image_parts(reference, image_id, image)
    is_sandbox = labels.get(_KIND) == "podsandbox"
    is_pod = _POD_NAME in labels
    return Container(
        id=name.id,
        full_id=name.full_id,
        type="docker",
        name=(_text(inspected, "Name") or "").removeprefix("/") or None,
        image=reference or None,
        image_id=image_id or None,
        image_repository=parts.repository or None,
        image_tag=parts.tag,
        image_digest=parts.digest or _digest(parts.repository, image),
        privileged=_flag(host, "Privileged"),
        start_ts=started_at(inspected),
        ip=_address(inspected) or (None if sandbox is None else _address(sandbox)),
        user=_text(config, "User") or None,
        host_pid=_text(host, "PidMode") == "host",
        host_network=_text(host, "NetworkMode") == "host",
        host_ipc=_text(host, "IpcMode") == "host",
        mounts=_mounts(inspected),
        labels=tuple(sorted(labels.items())),
        pod_name=labels.get(_POD_NAME),
        pod_uid=labels.get(_POD_UID) or name.pod_uid,
        pod_namespace=labels.get(_POD_NAMESPACE),
        pod_sandbox_id=name.full_id if is_sandbox else labels.get(_SANDBOX_ID),
        pod_labels=_pod_labels(labels if is_sandbox or sandbox is None else _labels(_object(sandbox, "Config")))
        if is_pod
        else None,
    )


def shares_network_with(inspected: Json) -> str | None:
    """Return the id of the container whose network or pod this one shares; None if it has its own."""
    mode = _text(_object(inspected, "HostConfig"), "NetworkMode") or ""
    labels = _labels(_object(inspected, "Config"))
    other = mode.removeprefix("container:") if mode.startswith("container:") else labels.get(_SANDBOX_ID, "")
    return other if re.fullmatch("[0-9a-f]{64}", other) and other != _text(inspected, "Id") else None


def image_of(inspected: Json) -> str | None:
    """Return the image's id, for looking up its digest."""
    image = _text(inspected, "Image") or ""
    return image if re.fullmatch("sha256:[0-9a-f]{64}", image) else None


def init_pid(inspected: Json) -> int | None:
    """Return the first process's pid as Docker numbers it; None if the container isn't running."""
    pid = _object(inspected, "State").get("Pid")
    return pid if type(pid) is int and pid > 0 else None


def started_at(inspected: Json) -> int | None:
    """Return the start time in epoch nanoseconds; None before the container runs."""
    match = _TIME.match(_text(_object(inspected, "State"), "StartedAt") or "")
    if match is None:
        return None
    zone = "+00:00" if match[3] == "Z" else match[3]
    try:
        moment = datetime.fromisoformat(match[1] + zone)
    except ValueError:
        return None
    whole = moment - datetime(1970, 1, 1, tzinfo=UTC)
    seconds = whole.days * 86_400 + whole.seconds
    start = seconds * 1_000_000_000 + int((match[2] or "").ljust(9, "0"))
    return start if seconds > 0 and is_clock(start) else None


def _image_parts(reference: str, image_id: str, image: Json | None) -> ImageName:
    bare = reference.removeprefix("sha256:")
    if bare and not (image_id.startswith(bare) and len(bare) >= 12):
        return split_image(reference)
    # Started by image id: the first name is the one that people use.
    names = [] if image is None else _texts(image, "RepoTags") or _texts(image, "RepoDigests")
    return split_image(names[0]) if names else ImageName("", None, None)


def _digest(repository: str, image: Json | None) -> str | None:
    digests = [] if image is None else [split_image(each) for each in _texts(image, "RepoDigests")]
    for each in digests:
        if each.repository == repository:
            return each.digest
    return digests[0].digest if digests else None


def _address(inspected: Json) -> str | None:
    settings = _object(inspected, "NetworkSettings")
    address = _text(settings, "IPAddress")
    if address:
        return address
    networks = _object(settings, "Networks")
    for name in sorted(networks):
        address = _text(_object(networks, name), "IPAddress")
        if address:
            return address
    return None


def _mounts(inspected: Json) -> tuple[Mount, ...]:
    mounts = inspected.get("Mounts")
    return tuple(
        Mount(
            source=_text(each, "Source") or "",
            dest=_text(each, "Destination") or "",
            mode=_text(each, "Mode") or "",
            rw=_flag(each, "RW") is True,
            propagation=_text(each, "Propagation") or "",
        )
        for each in (mounts[:MAX_MOUNTS] if isinstance(mounts, list) else ())
        if isinstance(each, dict)
    )


def _labels(config: Json) -> dict[str, str]:
    """Return the labels within the size limit, those set by the kubelet first."""
    labels = _object(config, "Labels")
    fitting = [
        (key, value)
        for key, value in labels.items()
        if isinstance(value, str) and len(key) <= MAX_LABEL_BYTES and len(value) <= MAX_LABEL_BYTES
    ]
    fitting.sort(key=lambda label: (not label[0].startswith("io.kubernetes."), label[0]))
    return dict(fitting[:MAX_LABELS])


def _pod_labels(labels: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    return tuple(sorted((key, value) for key, value in labels.items() if not key.startswith(_KUBELETS_OWN)))


def _object(json: Json, key: str) -> Json:
    value = json.get(key)
    return value if isinstance(value, dict) else {}


def _text(json: Json, key: str) -> str | None:
    value = json.get(key)
    return value if isinstance(value, str) else None


def _texts(json: Json, key: str) -> list[str]:
    value = json.get(key)
    return [each for each in value if isinstance(each, str)] if isinstance(value, list) else []


def _flag(json: Json, key: str) -> bool | None:
    value = json.get(key)
    return value if isinstance(value, bool) else None
