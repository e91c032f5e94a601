"""Values of parsed JSON by type: whoever built an image or wrote a manifest chooses them, so none is trusted."""

from collections.abc import Iterable, Mapping
from typing import Any

from schemas.batch import Mount

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
