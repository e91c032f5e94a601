"""Values of parsed JSON by type: whoever built an image or wrote a manifest chooses them, so none is trusted."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from schemas.batch import Mount

_DEFAULT_REGISTRY = "docker.io"
_OFFICIAL = "library"


@dataclass(frozen=True, slots=True)
class ImageName:
    """The parts of an image reference."""

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


def normalized(reference: str) -> str:
    """Return a reference with registry and tag: `nginx` becomes `docker.io/library/nginx:latest`.

    The kubelet passes the pod's reference as its author wrote it, and runtimes that complete it do so in this way.

    Source: ParseDockerRef of github.com/distribution/reference.
    """
    parts = split_image(reference)
    registry, slash, path = parts.repository.partition("/")
    if not slash:
        repository = f"{_DEFAULT_REGISTRY}/{_OFFICIAL}/{parts.repository}"
    elif not ("." in registry or ":" in registry or registry == "localhost"):
        repository = f"{_DEFAULT_REGISTRY}/{parts.repository}"
    elif registry == _DEFAULT_REGISTRY and "/" not in path:
        repository = f"{_DEFAULT_REGISTRY}/{_OFFICIAL}/{path}"
    else:
        repository = parts.repository
    tag = f":{parts.tag}" if parts.tag else ""
    digest = f"@{parts.digest}" if parts.digest else ""
    return repository + tag + digest


def is_image_id(reference: str) -> bool:
    """Return whether a reference is only an image's id, which no person would write into an exception."""
    bare = reference.removeprefix("sha256:")
    return len(bare) == 64 and all(digit in "0123456789abcdef" for digit in bare)


MAX_LABELS = 128
MAX_LABEL_BYTES = 1024
MAX_MOUNTS = 256
MAX_MOUNT_CHARACTERS = 64 << 10
"""Limit of the paths of a container's mounts together. A pod's author chooses them, and an event's batch has to
remain small enough for the broker."""

Json = Mapping[str, Any]


def object_of(json: Json, key: str) -> Json:
    """Return the object at a key; an empty one if it is missing or of another type."""
    value = json.get(key)
    return value if isinstance(value, dict) else {}


def text(json: Json, key: str) -> str | None:
    """Return the text at a key; None if it is missing or of another type."""
    value = json.get(key)
    return value if isinstance(value, str) else None


def texts(json: Json, key: str) -> list[str]:
    """Return the texts of the list at a key, without elements of other types."""
    return [each for each in items(json, key) if isinstance(each, str)]


def objects(json: Json, key: str) -> list[Json]:
    """Return the objects of the list at a key, without elements of other types."""
    return [each for each in items(json, key) if isinstance(each, dict)]


def items(json: Json, key: str) -> list[Any]:
    """Return the list at a key; an empty one if it is missing or of another type."""
    value = json.get(key)
    return value if isinstance(value, list) else []


def flag(json: Json, key: str) -> bool | None:
    """Return the boolean at a key; None if it is missing or of another type."""
    value = json.get(key)
    return value if isinstance(value, bool) else None


def bounded_labels(labels: Json) -> dict[str, str]:
    """Return the labels within the size limit, those set by the kubelet first."""
    fitting = [
        (key, value)
        for key, value in labels.items()
        if isinstance(value, str) and len(key) <= MAX_LABEL_BYTES and len(value) <= MAX_LABEL_BYTES
    ]
    fitting.sort(key=lambda label: (not label[0].startswith("io.kubernetes."), label[0]))
    return dict(fitting[:MAX_LABELS])


def bounded_mounts(mounts: Iterable[Mount]) -> tuple[tuple[Mount, ...], bool]:
    """Return the first mounts that are within the limits, and whether there are more."""
    found: list[Mount] = []
    left = MAX_MOUNT_CHARACTERS
    for mount in mounts:
        left -= len(mount.source) + len(mount.dest)
        if left < 0 or len(found) == MAX_MOUNTS:
            return tuple(found), True
        found.append(mount)
    return tuple(found), False
