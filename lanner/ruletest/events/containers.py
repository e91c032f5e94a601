"""The keys of a container in a test file."""

import hashlib
import re
from typing import Any

from lanner.ruletest import values
from lanner.ruletest.model import POD_UID, ContainerSpec, PodSpec
from lanner.ruletest.values import Fields, Key, MappingReader, TestFileError, written
from schemas.yaml.nodes import Node, ScalarNode, SequenceNode

_ID = re.compile("[0-9a-f]{12}|[0-9a-f]{64}")


def digits(text: str) -> str:
    """Return 64 hexadecimal digits that depend on a text."""
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()


def read_container(node: Node, _: str = "") -> ContainerSpec | None:
    """Read a container: none, the name of an image, or a mapping. Raises TestFileError."""
    if isinstance(node, ScalarNode):
        text = values.text(node, "container")
        return None if text in ("none", "host") else ContainerSpec(digits(text), image=text)
    table = MappingReader(node, "a container")
    given = table.values(_CONTAINER)
    table.refuse_unknown()
    pod = given["pod"].names if "pod" in given else ()
    return ContainerSpec(**{"id": digits(f"{given.get('name')} {given.get('image')} {pod}"), **given})


def write_container(fields: Fields) -> dict[str, Any] | None:
    """Return the container that an event's fields name; None if it is on the host."""
    if fields.get("container.id") in (None, "host", ""):
        return None
    repository, tag = fields.get("container.image.repository"), fields.get("container.image.tag")
    image = fields.get("container.image") or (f"{repository}:{tag}" if repository and tag else repository)
    pod = written(_POD, {"k8s.ns.name": "default", **fields}) if "k8s.pod.name" in fields else None
    return written(_CONTAINER, {**fields, "image": image, "pod": pod})


def _id(node: Node, key: str) -> str:
    text = values.text(node, key)
    if not _ID.fullmatch(text):
        raise TestFileError("a container's id has 12 or 64 hexadecimal digits", node, "omit it if it doesn't matter")
    return (text + digits(text))[:64]


def _labels(node: Node, key: str) -> tuple[tuple[str, str], ...]:
    return tuple(values.pairs(values.text)(node, key).items())


def _pod(node: Node, _: str) -> PodSpec:
    table = MappingReader(node, "a pod")
    table.need("name", "a pod has a name", "add 'name: ...'")
    given = table.values(_POD)
    table.refuse_unknown()
    return PodSpec(**given)


def _mounts(node: Node, key: str) -> tuple[tuple[str, str, bool], ...]:
    if not isinstance(node, SequenceNode):
        raise TestFileError(f"'{key}' takes a list of source:destination or source:destination:ro", node)
    found = []
    for item in node.items:
        source, _, rest = values.text(item, key).partition(":")
        destination, _, mode = rest.partition(":")
        if not destination or mode not in ("", "ro", "rw"):
            raise TestFileError("a mount is written source:destination or source:destination:ro", item)
        found.append((source, destination, mode != "ro"))
    return tuple(found)


_POD = (
    Key("name", values.text, "k8s.pod.name"),
    Key("namespace", values.text_or("default"), "k8s.ns.name"),
    Key("uid", values.text_or(POD_UID)),
    Key("labels", _labels),
)
_CONTAINER = (
    Key("id", _id, "container.id"),
    Key("name", values.text, "container.name"),
    Key("image", values.text, "image"),
    Key("digest", values.text),
    Key("type", values.one_of("container runtime", ("docker", "containerd", "cri-o", "podman"))),
    Key("privileged", values.truth, "container.privileged", usual=False),
    Key("user", values.text),
    Key("ip", values.text),
    Key("host_pid", values.truth),
    Key("host_network", values.truth),
    Key("host_ipc", values.truth),
    Key("mounts", _mounts),
    Key("truncated", values.truth, "container.truncated", usual=False),
    Key("labels", _labels),
    Key("pod", _pod, "pod"),
)
