"""Reads the processes and containers of a test file.

Defaults are those of an ordinary program of root on the host: /usr/bin/NAME, no terminal, no arguments.
"""

import hashlib
import re
from dataclasses import replace

from lanner.ruletest.model import ContainerSpec, ProcessSpec
from lanner.ruletest.table import MappingReader, TestFileError, text_of, texts_of
from processor.fields.process import CAPABILITIES
from processor.loading.problems.hints import did_you_mean
from processor.loading.yaml.nodes import Mapping, Node, Scalar, Sequence

NAME_BYTES = 15
_ALL = (1 << len(CAPABILITIES)) - 1
_DOCKERS = 0xA80425FB
"""The capabilities that Docker gives an unprivileged container (moby, oci/caps/defaults.go)."""
_SECOND = 1_000_000_000
_EXECUTABLE = 0o755
_HOST_SIDE = ("containerd", "dockerd", "conmon", "runc", "crun", "crio", "podman", "systemd", "kubelet")
"""Names of processes that are outside the container of their child."""
_ID = re.compile("[0-9a-f]{12}|[0-9a-f]{64}")
_TYPES = ("docker", "containerd", "cri-o", "podman")
_MAX_ANCESTORS = 64


def read_container(node: Node | None) -> ContainerSpec | None:
    """Read a container: none, the name of an image, or a mapping. Raises TestFileError."""
    if node is None:
        return None
    if isinstance(node, Scalar):
        text = text_of(node, "container")
        return None if text in ("none", "host") else ContainerSpec(_digits(text), image=text)
    table = MappingReader(node, "a container")
    name, image = table.text("name"), table.text("image")
    labels = _labels(table.get("labels"))
    pod_node = table.get("pod")
    pod, pod_labels = ((), ()) if pod_node is None else _pod(pod_node)
    spec = ContainerSpec(
        id=_id(table, f"{name} {image} {pod}"),
        type=_type(table),
        name=name,
        image=image,
        image_digest=table.text("digest"),
        privileged=table.truth("privileged"),
        user=table.text("user"),
        ip=table.text("ip"),
        host_pid=table.truth("host_pid"),
        host_network=table.truth("host_network"),
        host_ipc=table.truth("host_ipc"),
        mounts=_mounts(table.get("mounts")),
        labels=labels,
        pod=pod,
        pod_labels=pod_labels,
    )
    if wrong := table.unknown():
        raise wrong[0]
    return spec


def _digits(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()


def _id(table: MappingReader, otherwise: str) -> str:
    node = table.get("id")
    if node is None:
        return _digits(otherwise)
    text = text_of(node, "id")
    if not _ID.fullmatch(text):
        raise TestFileError("a container's id has 12 or 64 hexadecimal digits", node, "omit it if it doesn't matter")
    return text if len(text) == 64 else (text + _digits(text))[:64]


def _type(table: MappingReader) -> str:
    node = table.get("type")
    text = "docker" if node is None else text_of(node, "type")
    if node is not None and text not in _TYPES:
        raise TestFileError(f"unknown container runtime '{text}'", node, f"known are {', '.join(_TYPES)}")
    return text


def _labels(node: Node | None) -> tuple[tuple[str, str], ...]:
    if node is None:
        return ()
    return tuple((key, text_of(value, key)) for key, value in MappingReader(node, "labels").pairs().items())


def _pod(node: Node) -> tuple[tuple[tuple[str, str], ...], tuple[tuple[str, str], ...]]:
    table = MappingReader(node, "a pod")
    name = table.get("name")
    if name is None:
        raise TestFileError("a pod has a name", node, "add 'name: ...'")
    pod = (
        ("name", text_of(name, "name")),
        ("namespace", table.text("namespace") or "default"),
        ("uid", table.text("uid") or "7f0b3f6e-0000-4000-8000-000000000001"),
    )
    labels = _labels(table.get("labels"))
    if wrong := table.unknown():
        raise wrong[0]
    return pod, labels


def _mounts(node: Node | None) -> tuple[tuple[str, str, bool], ...]:
    if node is None:
        return ()
    if not isinstance(node, Sequence):
        raise TestFileError("'mounts' takes a list of source:destination or source:destination:ro", node)
    found = []
    for item in node.items:
        source, _, rest = text_of(item, "mounts").partition(":")
        destination, _, mode = rest.partition(":")
        if not destination or mode not in ("", "ro", "rw"):
            raise TestFileError("a mount is written source:destination or source:destination:ro", item)
        found.append((source, destination, mode != "ro"))
    return tuple(found)


def read_process(node: Node, container: ContainerSpec | None) -> ProcessSpec:
    """Read a process: its name, or a mapping.

    Args:
        node: the value.
        container: the container of the event.

    Raises:
        TestFileError: A value is invalid.
    """
    return _process(node, container, "a process")


def _process(node: Node, container: ContainerSpec | None, what: str) -> ProcessSpec:
    if isinstance(node, Scalar):
        # A name alone means a mapping with only that name.
        named = Scalar("name", "", node.start, node.end)
        node = Mapping(((named, node),), node.start, node.end)
    table = MappingReader(node, what)
    own = table.get("container")
    if own is not None:
        container = read_container(own)
    name, exepath = _names(table)
    uid, user = _identity(table, "uid", "user")
    gid, group = _identity(table, "gid", "group")
    spec = ProcessSpec(
        name=name,
        exe=None if table.is_null("exe") else table.text("exe", name),
        exepath=exepath,
        args=_arguments(table.get("args")),
        cwd=table.text("cwd") or "/",
        env=_environment(table.get("env")),
        pid=table.small("pid"),
        vpid=table.small("vpid"),
        tty=_terminal(table),
        uid=uid,
        user=user,
        gid=gid,
        group=group,
        loginuid=-1 if table.get("loginuid") is None else table.number("loginuid") or 0,
        capabilities=_capabilities(table, uid, container),
        age=table.duration("age", _SECOND),
        upper_layer=table.truth("upper_layer"),
        lower_layer=table.truth(
            "lower_layer", default=container is not None and not {"upper_layer", "memfd"} & table.keys()
        ),
        memfd=table.truth("memfd"),
        exe_uid=table.small("exe_uid") or 0,
        exe_mode=_mode(table),
        exe_ino=table.small("exe_ino") or int(_digits(exepath or name)[:6], 16) + 2,
        container=container,
        parent=_parent(table.get("ancestors"), container),
    )
    if wrong := table.unknown():
        raise wrong[0]
    return spec


def _names(table: MappingReader) -> tuple[str, str | None]:
    node = table.get("name")
    exepath = table.text("exepath")
    if node is None:
        if exepath is None:
            raise TestFileError(f"{table.what} has a name", table.node, "add 'name: ...'")
        return exepath.rpartition("/")[2].encode()[:NAME_BYTES].decode(errors="ignore"), exepath
    name = text_of(node, "name")
    if len(name.encode("utf-8", "surrogateescape")) > NAME_BYTES:
        raise TestFileError(
            f"a process's name has at most {NAME_BYTES} bytes",
            node,
            f"the kernel calls it '{name.encode()[:NAME_BYTES].decode(errors='ignore')}'",
        )
    if exepath is None and not table.is_null("exepath"):
        exepath = f"memfd:{name}" if table.truth("memfd") else f"/usr/bin/{name}"
    return name, exepath


def _identity(table: MappingReader, number: str, name: str) -> tuple[int, str | None]:
    given, text = table.small(number, 2**32 - 2), table.text(name)
    if given is None and text is None:
        return 0, "root"
    if given is None:
        assert text is not None  # noqa: S101  one of both is present
        return (0 if text == "root" else 1000 + int(_digits(text)[:3], 16)), text
    return given, text or ("root" if given == 0 and not table.is_null(name) else None)


def _arguments(node: Node | None) -> tuple[str, ...]:
    if node is None:
        return ()
    if isinstance(node, Sequence):
        return tuple(item.value if isinstance(item, Scalar) else text_of(item, "args") for item in node.items)
    return tuple(text_of(node, "args").split()) if not (isinstance(node, Scalar) and node.value == "") else ()


def _environment(node: Node | None) -> tuple[str, ...]:
    if node is None:
        return ()
    if isinstance(node, Mapping):
        return tuple(f"{key}={text_of(value, key)}" for key, value in MappingReader(node, "env").pairs().items())
    return texts_of(node, "env")


def _terminal(table: MappingReader) -> int:
    node = table.get("tty")
    if node is None:
        return 0
    text = text_of(node, "tty").lower()
    if text in ("yes", "true"):
        return 34816
    return 0 if text in ("no", "none", "false") else table.small("tty") or 0


def _mode(table: MappingReader) -> int:
    node = table.get("exe_mode")
    if node is None:
        return 0o100000 | _EXECUTABLE
    try:
        return 0o100000 | int(text_of(node, "exe_mode"), 8)
    except ValueError:
        raise TestFileError("'exe_mode' takes octal digits, as in 0755", node) from None


def _capabilities(table: MappingReader, uid: int, container: ContainerSpec | None) -> int:
    node = table.get("caps")
    if node is None:
        if uid:
            return 0
        return _ALL if container is None or container.privileged else _DOCKERS
    mask = 0
    for name in texts_of(node, "caps"):
        if name == "all":
            return _ALL
        if name not in CAPABILITIES:
            raise TestFileError(f"unknown capability '{name}'", node, did_you_mean(name, CAPABILITIES))
        mask |= 1 << CAPABILITIES.index(name)
    return mask


def _parent(node: Node | None, container: ContainerSpec | None) -> ProcessSpec | None:
    if node is None:
        return None
    items = node.items if isinstance(node, Sequence) else (node,)
    if len(items) > _MAX_ANCESTORS:
        raise TestFileError(f"more than {_MAX_ANCESTORS} ancestors", node)
    above: ProcessSpec | None = None
    outside = [_is_outside(item) for item in items]
    for place in reversed(range(len(items))):
        item = items[place]
        # Parents of a runtime are outside too.
        where = None if any(outside[: place + 1]) else container
        spec = _process(item, where, "an ancestor")
        if spec.parent is not None:
            raise TestFileError("an ancestor's ancestors are the items that follow it in the list", item)
        above = replace(spec, parent=above)
    return above


def _is_outside(node: Node) -> bool:
    name: Node | None = node
    if isinstance(node, Mapping):
        name = node.get("name") or node.get("exepath")
    return isinstance(name, Scalar) and name.value.rpartition("/")[2].startswith(_HOST_SIDE)
