"""Containers recognized by cgroup paths, as runtimes name them, and by namespaces.

A container counts only if it has a known runtime's naming in a place where that runtime creates its cgroups. Other
software uses digits in cgroup names too, and an unprivileged user may create cgroups of any name below those that
systemd delegates. A host process mistaken for a container's would be evaluated by the wrong rules.
"""

import re
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import lru_cache
from pathlib import Path

from collector.processes.parts import ProcessContext
from collector.procfs.reading import read_file

MOUNTS = tuple(map(Path, ("/sys/fs/cgroup/pids", "/sys/fs/cgroup/systemd", "/sys/fs/cgroup")))
"""Where the hierarchy may be mounted: of version 1 (the first two), or the unified one."""
MAX_PROCESSES = 8
_MAX_LIST = 1 << 10


def exists(cgroup: str) -> bool:
    """Return whether a cgroup exists, by its path from its root."""
    return any(Path(f"{mount}{cgroup}").is_dir() for mount in MOUNTS)


def processes(cgroup: str) -> list[int]:
    """Return the first processes in a cgroup, by its path from its root; at most MAX_PROCESSES."""
    for mount in MOUNTS:
        text = read_file(f"{mount}{cgroup}/cgroup.procs", _MAX_LIST)
        if text:
            return [int(line) for line in text.split()[:MAX_PROCESSES]]
    return []


MAX_DEPTH = 16
"""Path components that the kernel side walks up; a path with this many may be cut off at its beginning."""

_ID = "[0-9a-f]{64}"
_ANY_ID = "[A-Za-z0-9][A-Za-z0-9_.-]{0,127}"
_BUILD_ID = "[a-z0-9]{25}"
_PREFIXES = "docker|cri-containerd|crio|libpod|nerdctl"
_SCOPED = re.compile(rf"(?P<prefix>{_PREFIXES})-(?:payload-)?(?P<id>{_ID})(?:\.scope)?\Z")
_BARE = re.compile(rf"{_ID}\Z")
# containerd writes slice:prefix:id for a pod if it got systemd names but uses plain cgroups.
_COLON = re.compile(rf"[^:]+\.slice:(?P<prefix>{_PREFIXES}):(?P<id>{_ID})\Z")
_POD = re.compile(
    r"(?:[a-z-]*kubepods[a-z-]*-)?pod(?P<uid>[0-9a-f]{8}(?:[-_][0-9a-f]{4}){3}[-_][0-9a-f]{12}|[0-9a-f]{32})(?:\.slice)?\Z"
)
# A step of a build: docker build with systemd names its scope like a container's, but with BuildKit's shorter id.
_BUILD = re.compile(rf"(?:docker|buildkit)-(?P<id>{_BUILD_ID})\.scope\Z")
_BARE_BUILD = re.compile(rf"{_BUILD_ID}\Z")
_NSPAWN = re.compile(rf"(?:systemd-nspawn@(?P<name>{_ANY_ID})\.service|machine-(?P<machine>{_ANY_ID})\.scope)\Z")
_LXC = re.compile(rf"lxc\.payload\.(?P<id>{_ANY_ID})\Z")
_NAME = re.compile(rf"{_ANY_ID}\Z")

_TYPES = {
    "docker": "docker",
    "cri-containerd": "containerd",
    "nerdctl": "containerd",
    "crio": "cri-o",
    "libpod": "podman",
}
_FOLDERS = {"docker": "docker", "libpod_parent": "podman", "machine.slice": "podman", "moby": "docker"}
_NAMESPACES = frozenset({"default", "k8s.io"})
"""containerd's usual namespaces. Without systemd, ctr and nerdctl create a container's cgroup at /namespace/id."""
_LXC_FOLDERS = frozenset({"lxc", "lxc.payload"})
_PROCESSES = (["container"], ["payload"])
"""Below a container's cgroup: where Podman and CRI-O, and systemd-nspawn, put its processes."""
_BOOTED = frozenset({"payload", "init.scope", "system.slice", "user.slice"})
"""Folders below the cgroup of a machine of systemd-nspawn; a virtual machine has none of them."""

_USERS = "user.slice"
"""systemd delegates the cgroups below this one to logged-in users."""
_RUNTIMES = frozenset(
    f"{name}.service"
    for name in (
        *("containerd", "docker", "crio", "kubelet", "k3s", "k3s-agent", "rke2-server", "rke2-agent"),
        *("snap.docker.dockerd", "snap.microk8s.daemon-containerd"),
    )
)
"""Services in whose own cgroup a runtime may create those of containers."""
_QUALITIES = frozenset({"burstable", "besteffort"})


@dataclass(frozen=True, slots=True)
class ContainerName:
    """The facts about a container that its cgroup's path alone reveals."""

    type: str
    """As Falco's container.type: docker, containerd, cri-o, podman, lxc; or buildkit, systemd-nspawn, unknown."""
    full_id: str
    """64 hexadecimal digits, or the name that somebody gave it: with ctr, LXC and systemd-nspawn."""
    pod_uid: str | None = None
    cgroup: str = ""
    """The path of the container's own cgroup. Two cgroups that claim the same id are two containers."""
    is_certain: bool = True
    """True if only root of the host can have created this cgroup. Where root of a container or an unprivileged user can
    create it, the id may be forged and the runtime has to confirm it."""
    outer: str = ""
    """The cgroup of the outermost container, if this one is nested in it."""

    @property
    def id(self) -> str:
        """The first 12 digits, as people and rules use them."""
        return self.full_id[:12]

    @property
    def key(self) -> str:
        """Unique key, which differs from that of a container that only claims the same id."""
        return self.cgroup or self.full_id

    @property
    def certain_key(self) -> str:
        """Key of the outermost container if only root of the host can have created it, else empty."""
        key = self.outer or self.key
        return key if (self.is_certain or self.outer) and not key.startswith(f"/{_USERS}/") else ""


class Naming:
    """The cgroups in which runtimes create those of containers on this host.

    Args:
        parents: paths of further such cgroups, for example that of a user who runs rootless Podman; `*` matches any
            part of one name.
    """

    def __init__(self, parents: Iterable[str] = ()) -> None:
        self._parents = tuple(tuple(_split(parent)) for parent in parents)
        # Looked up at each exec, and a host has few cgroups, so results are cached.
        self.container_of = lru_cache(maxsize=4096)(self._container_of)

    def _container_of(self, path: str) -> ContainerName | None:
        """Return the container that a cgroup belongs to, the innermost one if containers are nested.

        The path is that from the cgroup's root, as in /proc/PID/cgroup and in kernel records.

        Source: the naming in runc's, containerd's, CRI-O's, podman's and the kubelet's cgroup managers.
        """
        parts = _split(path)
        if not path.startswith("/") or len(parts) >= MAX_DEPTH or ".." in parts:
            return None
        found: ContainerName | None = None
        begin = 0
        while (named := self._next(parts, begin)) is not None:
            at = named.at
            is_certain = begin == 0 and parts[0] != _USERS
            cgroup = "/" + "/".join(parts[: at + 1])
            outer = "" if found is None else found.outer or found.cgroup
            found = ContainerName(named.type, named.id, _pod_uid(parts, at), cgroup, is_certain, outer)
            begin = at + 1
        return found

    def _next(self, parts: list[str], begin: int) -> "_Named | None":
        """Return the next container: the first on the host, or the next one inside a container."""
        if begin:
            inside = begin + (parts[begin : begin + 1] in _PROCESSES)
            return _first(parts, inside)
        for parent in self._parents:
            if _is_below(parts, parent) and (named := _first(parts, len(parent), is_parent=True)) is not None:
                return named
        return _first(parts, 0) if parts and parts[0] != _USERS else None


container_of = Naming().container_of
"""Naming without further parents."""


def claimed_container(path: str) -> ContainerName | None:
    """Return the container that a cgroup claims to be with a runtime's name in a place where anybody may create it.

    Believe it only of a process that is in a container anyway, such as that of a user's rootless Podman.
    """
    parts = _split(path)
    for at, part in enumerate(parts):
        if scoped := _SCOPED.match(part):
            cgroup = "/" + "/".join(parts[: at + 1])
            return ContainerName(_TYPES[scoped["prefix"]], scoped["id"], None, cgroup, is_certain=False)
    return None


def _split(path: str) -> list[str]:
    return [part for part in path.split("/") if part]


def _is_below(parts: list[str], parent: tuple[str, ...]) -> bool:
    return len(parts) > len(parent) and all(map(fnmatchcase, parts, parent))


@dataclass(frozen=True, slots=True)
class _Named:
    """A container's name in a path."""

    at: int
    """Index of its cgroup."""
    type: str
    id: str


def _first(parts: list[str], root: int, *, is_parent: bool = False) -> _Named | None:
    """Return the outermost container below a root; None if there is none."""
    for at in range(root, len(parts)):
        above = parts[root:at]
        if is_parent and not above and _BARE.match(parts[at]):
            return _Named(at, _FOLDERS.get(parts[at - 1], "docker"), parts[at])
        if above[:1] == ["kubelet"]:
            above = above[1:]
        named = _made_by_a_runtime(above, parts[at], parts[at + 1 : at + 2])
        if named is not None:
            return _Named(at, *named)
    return None


def _made_by_a_runtime(above: list[str], name: str, below: list[str]) -> tuple[str, str] | None:
    """Return type and id of the container that a runtime creates with this name below these cgroups.

    Slices count whatever their names are: systemd creates them for root only and never delegates them. It may delegate
    a service or a scope, whose owner then creates any cgroup below it.
    """
    is_in_slices = all(each.endswith(".slice") for each in above)
    scoped, colon = _SCOPED.match(name), _COLON.match(name)
    if scoped and is_in_slices:
        return _TYPES[scoped["prefix"]], scoped["id"]
    if colon and (not above or (above[-1] in _RUNTIMES and all(each.endswith(".slice") for each in above[:-1]))):
        return _TYPES[colon["prefix"]], colon["id"]
    if is_in_slices and (build := _BUILD.match(name)):
        return "buildkit", build["id"]
    if not above:
        lxc = _LXC.match(name)
        return None if lxc is None else ("lxc", lxc["id"])
    is_pods = above == ["libpod_parent"] and bool(below) and bool(_SCOPED.match(below[0]))
    if (scoped or _BARE.match(name)) and not is_pods:
        identifier = scoped["id"] if scoped else name
        if _is_pod(above):
            # The kubelet's plain layout is the same for each runtime; containerd is by far the most common one.
            return _TYPES[scoped["prefix"]] if scoped else "containerd", identifier
        if above[0] in _FOLDERS and len(above) == 1 + (above[0] == "libpod_parent" and len(above) == 2):
            return _FOLDERS[above[0]], identifier
    if above[-1] == "buildkit" and _BARE_BUILD.match(name) and len(above) == 1 + (above[0] == "docker"):
        return "buildkit", name
    if above == ["machine.slice"] and _BOOTED.intersection(below) and (machine := _NSPAWN.match(name)):
        return "systemd-nspawn", machine["name"] or machine["machine"]
    if len(above) == 1 and _NAME.match(name):
        if above[0] in _LXC_FOLDERS:
            return "lxc", name
        if above[0] in _NAMESPACES:
            return "containerd", name
    return None


def _is_pod(above: list[str]) -> bool:
    """Return whether these are the kubelet's cgroups of a pod, named without systemd."""
    qualities = above[1:-1]
    return (
        len(above) >= 2
        and above[0] == "kubepods"
        and len(qualities) <= 1
        and set(qualities) <= _QUALITIES
        and bool(_POD.match(above[-1]))
    )


def _pod_uid(parts: list[str], at: int) -> str | None:
    for folder in (*reversed(parts[:at]), parts[at].split(":", 1)[0]):
        pod = _POD.match(folder)
        if pod:
            return pod["uid"].replace("_", "-")
    return None


UNKNOWN = "unknown"
_IN_NAMESPACE = re.compile(r"/[A-Za-z0-9_.-]+/(?P<id>[A-Za-z0-9][A-Za-z0-9_.-]{0,127})\Z")
"""/namespace/id, where containerd creates cgroups without systemd."""
_SYSTEMD = (".slice", ".scope", ".service")


def host_mount_namespaces(proc: Path = Path("/proc")) -> frozenset[int]:
    """Return the inode numbers of the mount namespaces that belong to no container.

    They are the first process's, which root may not always look at, and this one's.
    """
    found = set()
    for process in ("1", "self"):
        with suppress(OSError):
            found.add((proc / process / "ns" / "mnt").stat().st_ino)
    return frozenset(found)


class Isolation:
    """Compares namespaces with those of the host; if these are unknown, no process counts as isolated."""

    def __init__(self, host: frozenset[int]) -> None:
        self._host = host

    def container_of(self, pid: int, context: ProcessContext) -> ContainerName | None:
        """Return the container of a process in pid and mount namespaces of its own; None if it has the host's."""
        if not self._host or not context.mount_namespace or context.mount_namespace in self._host:
            return None
        if context.vpid in (None, 0, pid) or not context.pid_namespace:
            return None
        cgroup = context.cgroup or ""
        claimed = claimed_container(cgroup)
        if claimed is not None:
            return claimed
        named = None if cgroup.endswith(_SYSTEMD) else _IN_NAMESPACE.match(cgroup)
        if named is not None:
            return ContainerName(UNKNOWN, named["id"], None, cgroup)
        # The namespace's number is unique while the container lives; its cgroup may have other processes.
        return ContainerName(UNKNOWN, f"{context.pid_namespace:012x}")
