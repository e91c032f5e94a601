"""The keys of a process and of its container in a test file.

Defaults are those of an ordinary program of root on the host: /usr/bin/NAME, no terminal, no arguments.
"""

import hashlib
import re
from collections.abc import Iterable
from dataclasses import replace
from itertools import takewhile
from typing import Any

from foundation.text import did_you_mean
from foundation.yaml import mappings
from foundation.yaml.mappings import BadMapping, Fields, Key, MappingReader, written
from foundation.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode
from lanner.ruletest.model import POD_UID, ContainerSpec, PodSpec, ProcessSpec
from processor.fields.process import CAPABILITIES
from schemas.batch import ProgramFile

_ID = re.compile("[0-9a-f]{12}|[0-9a-f]{64}")


def digits(text: str) -> str:
    """Return 64 hexadecimal digits that depend on a text."""
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()


def read_container(node: Node, _: str = "") -> ContainerSpec | None:
    """Read a container: none, the name of an image, or a mapping. Raises BadMapping."""
    if isinstance(node, ScalarNode):
        text = mappings.text(node, "container")
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


def read_file(node: Node, _: str) -> ProgramFile:
    """Read what a file of code is, that of a script or of an event. Raises BadMapping."""
    table = MappingReader(node, "a file")
    given = table.values(file_keys("proc.script."))
    table.refuse_unknown()
    return ProgramFile(**given)


def file_keys(prefix: str) -> tuple[Key[str], ...]:
    """Return the keys of a file of code, whose fields begin with a prefix."""
    return tuple(Key(name, mappings.text, f"{prefix}{name}") for name in _FILE)


def _id(node: Node, key: str) -> str:
    text = mappings.text(node, key)
    if not _ID.fullmatch(text):
        raise BadMapping("a container's id has 12 or 64 hexadecimal digits", node, "omit it if it doesn't matter")
    return (text + digits(text))[:64]


def _labels(node: Node, key: str) -> tuple[tuple[str, str], ...]:
    return tuple(mappings.pairs(mappings.text)(node, key).items())


def _pod(node: Node, _: str) -> PodSpec:
    table = MappingReader(node, "a pod")
    table.need("name", "a pod has a name", "add 'name: ...'")
    given = table.values(_POD)
    table.refuse_unknown()
    return PodSpec(**given)


def _mounts(node: Node, key: str) -> tuple[tuple[str, str, bool], ...]:
    if not isinstance(node, SequenceNode):
        raise BadMapping(f"'{key}' takes a list of source:destination or source:destination:ro", node)
    found = []
    for item in node.items:
        source, _, rest = mappings.text(item, key).partition(":")
        destination, _, mode = rest.partition(":")
        if not destination or mode not in ("", "ro", "rw"):
            raise BadMapping("a mount is written source:destination or source:destination:ro", item)
        found.append((source, destination, mode != "ro"))
    return tuple(found)


_POD = (
    Key("name", mappings.text, "k8s.pod.name"),
    Key("namespace", mappings.text_or("default"), "k8s.ns.name"),
    Key("uid", mappings.text_or(POD_UID)),
    Key("labels", _labels),
)
_FILE = ("path", "origin", "package", "sha256", "written_by")
_CONTAINER = (
    Key("id", _id, "container.id"),
    Key("name", mappings.text, "container.name"),
    Key("image", mappings.text, "image"),
    Key("digest", mappings.text),
    Key("type", mappings.one_of("container runtime", ("docker", "containerd", "cri-o", "podman"))),
    Key("privileged", mappings.truth, "container.privileged", usual=False),
    Key("user", mappings.text),
    Key("ip", mappings.text),
    Key("host_pid", mappings.truth),
    Key("host_network", mappings.truth),
    Key("host_ipc", mappings.truth),
    Key("mounts", _mounts),
    Key("truncated", mappings.truth, "container.truncated", usual=False),
    Key("labels", _labels),
    Key("pod", _pod, "pod"),
)


NAME_BYTES = 15
_ALL = (1 << len(CAPABILITIES)) - 1
_DOCKERS = 0xA80425FB
"""The capabilities that Docker gives an unprivileged container (moby, oci/caps/defaults.go)."""
_TERMINALS = {"yes": 34816, "true": 34816, "no": 0, "none": 0, "false": 0}
_HOST_SIDE = ("containerd", "dockerd", "conmon", "runc", "crun", "crio", "podman", "systemd", "kubelet")
"""Names of processes that are outside the container of their child."""
_MAX_ANCESTORS = 64
_MOST_WRITTEN = 16


def read_process(node: Node, container: ContainerSpec | None, what: str = "a process") -> ProcessSpec:
    """Parse a process: its name, or a mapping. what: its name in messages. Raises BadMapping."""
    if isinstance(node, ScalarNode):
        # A name alone means a mapping with only that name.
        named = ScalarNode(node.file, node.start, node.end, "name")
        node = MappingNode(node.file, node.start, node.end, ((named, node),))
    table = MappingReader(node, what)
    given = table.values(_PROCESS)
    container = given.get("container", container)
    name, exepath = _names(table, given.get("name"), given.get("exepath"), is_memfd=given.get("memfd", False))
    uid, user = _identity(given.get("uid"), given.get("user"), is_unnamed=table.is_null("user"))
    gid, group = _identity(given.get("gid"), given.get("group"), is_unnamed=table.is_null("group"))
    parent = _parent(given.pop("ancestors", None), container)
    table.refuse_unknown()
    usual = {
        "exe": None if table.is_null("exe") else name,
        "codepath": None if table.is_null("codepath") else exepath,
        "caps": 0 if uid else _ALL if container is None or container.privileged else _DOCKERS,
        "lower_layer": container is not None and not {"upper_layer", "memfd"} & given.keys(),
    }
    derived = {"name": name, "exepath": exepath, "uid": uid, "user": user, "gid": gid, "group": group}
    inode = given.get("exe_ino") or int(digits(exepath or name)[:6], 16) + 2
    return ProcessSpec(**usual | given | derived | {"exe_ino": inode, "container": container, "parent": parent})


def write_process(fields: Fields) -> dict[str, Any]:
    """Return the process that an event's fields describe."""
    name, path, exe = str(fields.get("proc.name", "unknown")), fields.get("proc.exepath"), fields.get("proc.exe")
    code = fields.get("proc.codepath")
    line = str(fields.get("proc.cmdline", "")).removeprefix(name).strip()
    args, age = str(fields.get("proc.args", line)), fields.get("proc.duration")
    derived = {
        "name": name,
        "exepath": None if path == f"/usr/bin/{name}" else path,
        "codepath": None if code in (None, path) else code,
        "exe": None if exe == name else exe,
        "args": args.split(" ") if args else None,
        "cwd": str(fields.get("proc.cwd", "/")).rstrip("/") or "/",
        "age": f"{age // 1_000_000}ms" if isinstance(age, int) and age >= 0 else None,
        "ancestors": _written_ancestors(fields) or None,
        "script": written(file_keys("proc.script."), fields) or None,
    }
    return written(_PROCESS, {**fields, **derived})


def capability_mask(names: Iterable[str], node: Node) -> int:
    """Return the bits of capabilities. Raises BadMapping for an unknown name."""
    mask = 0
    for name in names:
        if name not in CAPABILITIES:
            raise BadMapping(f"unknown capability '{name}'", node, did_you_mean(name, CAPABILITIES))
        mask |= 1 << CAPABILITIES.index(name)
    return mask


def _capabilities(node: Node, key: str) -> int:
    names = mappings.texts(node, key)
    mask = capability_mask(takewhile(lambda name: name != "all", names), node)
    return _ALL if "all" in names else mask


def clipped(name: str) -> str:
    """Return a process's name as the kernel shortens it."""
    return name.encode()[:NAME_BYTES].decode(errors="ignore")


def _name(node: Node, key: str) -> str:
    name = mappings.text(node, key)
    if len(name.encode("utf-8", "surrogateescape")) > NAME_BYTES:
        hint = f"the kernel calls it '{clipped(name)}'"
        raise BadMapping(f"a process's name has at most {NAME_BYTES} bytes", node, hint)
    return name


def _names(table: MappingReader, name: str | None, exepath: str | None, *, is_memfd: bool) -> tuple[str, str | None]:
    if name is None and exepath is None:
        raise BadMapping(f"{table.what} has a name", table.node, "add 'name: ...'")
    if name is None:
        return clipped(str(exepath).rpartition("/")[2]), exepath
    if exepath is None and not table.is_null("exepath"):
        exepath = f"memfd:{name}" if is_memfd else f"/usr/bin/{name}"
    return name, exepath


def _identity(number: int | None, name: str | None, *, is_unnamed: bool) -> tuple[int, str | None]:
    if number is None:
        name = "root" if name is None else name
        return (0 if name == "root" else 1000 + int(digits(name)[:3], 16)), name
    return number, name or ("root" if number == 0 and not is_unnamed else None)


def _arguments(node: Node, key: str) -> tuple[str, ...]:
    if isinstance(node, SequenceNode):
        return tuple(item.value if isinstance(item, ScalarNode) else mappings.text(item, key) for item in node.items)
    return tuple(mappings.text(node, key).split())


def _environment(node: Node, key: str) -> tuple[str, ...]:
    if isinstance(node, MappingNode):
        return tuple(f"{name}={value}" for name, value in mappings.pairs(mappings.text)(node, key).items())
    return mappings.texts(node, key)


def _terminal(node: Node, key: str) -> int:
    known = _TERMINALS.get(mappings.text(node, key).lower())
    return mappings.small()(node, key) if known is None else known


def _parent(node: Node | None, container: ContainerSpec | None) -> ProcessSpec | None:
    if node is None:
        return None
    items = node.items if isinstance(node, SequenceNode) else (node,)
    if len(items) > _MAX_ANCESTORS:
        raise BadMapping(f"more than {_MAX_ANCESTORS} ancestors", node)
    above: ProcessSpec | None = None
    outside = [_is_outside(item) for item in items]
    for index in reversed(range(len(items))):
        item = items[index]
        # Parents of a runtime are outside too.
        where = None if any(outside[: index + 1]) else container
        spec = read_process(item, where, "an ancestor")
        if spec.parent is not None:
            raise BadMapping("an ancestor's ancestors are the items that follow it in the list", item)
        above = replace(spec, parent=above)
    return above


def _is_outside(node: Node) -> bool:
    name: Node | None = node
    if isinstance(node, MappingNode):
        name = node.get("name") or node.get("exepath")
    return isinstance(name, ScalarNode) and name.value.rpartition("/")[2].startswith(_HOST_SIDE)


def _written_ancestors(fields: Fields) -> list[Any]:
    found: list[Any] = []
    for level in range(1, _MOST_WRITTEN):
        own = {}
        for part in ("name", "exepath", "codepath", "cmdline"):
            value = fields.get(f"proc.a{part}[{level}]")
            own[f"proc.{part}"] = fields.get(f"proc.p{part}", value) if level == 1 else value
        if own["proc.name"] is None:
            break
        ancestor = write_process({key: value for key, value in own.items() if value is not None})
        found.append(ancestor if len(ancestor) > 1 else ancestor["name"])
    return found


_PROCESS = (
    Key("name", _name, "name"),
    Key("exepath", mappings.text, "exepath"),
    Key("codepath", mappings.text, "codepath"),
    Key("exe", mappings.text, "exe"),
    Key("args", _arguments, "args"),
    Key("cwd", mappings.text_or("/"), "cwd", usual="/"),
    Key("env", _environment),
    Key("pid", mappings.small()),
    Key("vpid", mappings.small()),
    Key("tty", _terminal, "proc.tty", usual=0),
    Key("uid", mappings.small(2**32 - 2), "user.uid", usual=0),
    Key("user", mappings.text, "user.name", usual="root"),
    Key("gid", mappings.small(2**32 - 2)),
    Key("group", mappings.text),
    Key("loginuid", mappings.number, "user.loginuid", usual=-1),
    Key("caps", _capabilities),
    Key("age", mappings.duration, "age"),
    Key("memfd", mappings.truth, "proc.is_exe_from_memfd", usual=False),
    Key("upper_layer", mappings.truth, "proc.is_exe_upper_layer", usual=False),
    Key("lower_layer", mappings.truth),
    Key("exe_uid", mappings.small()),
    Key("exe_mode", lambda node, key: 0o100000 | mappings.octal(node, key)),
    Key("exe_ino", mappings.small()),
    Key("exe_age", mappings.duration),
    Key("origin", mappings.text, "proc.exe.origin"),
    Key("package", mappings.text, "proc.exe.package"),
    Key("sha256", mappings.text, "proc.exe.sha256"),
    Key("written_by", mappings.text, "proc.exe.written_by"),
    Key("script", read_file, "script"),
    Key("container", read_container),
    Key("ancestors", lambda node, _: node, "ancestors"),
)
