"""JSON that whoever creates a container can make large or wrong: decoded within limits, and its values read by type.

Decoding lets no other thread run, and may need thirty times the memory of its input. A large text is therefore decoded
in a process of its own with limited memory, one at a time, which returns only what facts are made of. Whoever built an
image or wrote a manifest chooses the values, so none is trusted.
"""

import json
import os
import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from collector.procfs.look_ups import LookUps
from foundation.errors import LannerError
from schemas.batch import Mount

MAX_BYTES = 16 << 20
"""Limit of a specification or an answer. A program's arguments and environment have at most 6 MiB, and containerd's
messages at most 16 MiB."""
MAX_AT_ONCE = 1 << 20
"""Bytes that are decoded at once; it takes about 10 ms."""
TIMEOUT = 5.0
"""Seconds that decoding may take."""

_one_at_a_time = threading.Lock()

_DEFAULT_REGISTRY = "docker.io"
_OFFICIAL = "library"
MAX_LABELS = 128
MAX_LABEL_BYTES = 1024
MAX_MOUNTS = 256
MAX_MOUNT_CHARACTERS = 64 << 10
"""Limit of the paths of a container's mounts together. A pod's author chooses them, and an event's batch has to
remain small enough for the broker."""
Json = Mapping[str, Any]


class ResponseTooLarge(LannerError):
    """A runtime's file or answer is larger than the part of it that is read."""


def decoded(text: bytes) -> object:
    """Decode JSON; a large one lacks long texts, and long lists of texts are cut.

    Raises:
        ResponseTooLarge: it has more than MAX_BYTES bytes, or needs too much memory or time.
        ValueError: it is not JSON.
    """
    if len(text) > MAX_BYTES:
        raise ResponseTooLarge(f"more than {MAX_BYTES} bytes")
    if len(text) <= MAX_AT_ONCE:
        try:
            return json.loads(text)
        except RecursionError as error:
            raise ValueError("nested too deeply") from error
    with _one_at_a_time, os.fdopen(os.memfd_create("lanner-json"), "wb", buffering=0) as file:
        file.write(text)
        look_ups = LookUps(timeout=TIMEOUT)
        try:
            found = look_ups.json(f"/proc/{os.getpid()}/fd/{file.fileno()}")
        finally:
            # What it needed for one text is more than it should have until the next.
            look_ups.close()
    if found is None:
        raise ResponseTooLarge(f"{len(text)} bytes can't be decoded within limits")
    return found


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
