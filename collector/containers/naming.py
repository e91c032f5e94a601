"""Container ids as runtimes write them into cgroup paths.

A container counts only if it has a known runtime's naming in a place where that runtime creates its cgroups. Other
software uses digits in cgroup names too, and an unprivileged user may create cgroups of any name below those that
systemd delegates. A host process mistaken for a container's would be evaluated by the wrong rules.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import lru_cache

MAX_DEPTH = 16
"""Path components that the kernel side walks up; a path with this many may be cut off at its beginning."""

_ID = "[0-9a-f]{64}"
_SCOPED = re.compile(rf"(?P<prefix>docker|cri-containerd|crio|libpod)-(?:payload-)?(?P<id>{_ID})(?:\.scope)?\Z")
_BARE = re.compile(rf"{_ID}\Z")
# containerd writes slice:prefix:id for a pod if it got systemd names but uses plain cgroups.
_COLON = re.compile(rf"[^:]+\.slice:(?P<prefix>docker|cri-containerd|crio|libpod):(?P<id>{_ID})\Z")
_POD = re.compile(
    r"(?:[a-z-]*kubepods[a-z-]*-)?pod(?P<uid>[0-9a-f]{8}(?:[-_][0-9a-f]{4}){3}[-_][0-9a-f]{12}|[0-9a-f]{32})(?:\.slice)?\Z"
)

_TYPES = {"docker": "docker", "cri-containerd": "containerd", "crio": "cri-o", "libpod": "podman"}
_FOLDERS = {"docker": "docker", "libpod_parent": "podman", "machine.slice": "podman"}

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
    """What a cgroup's path alone reveals about a container."""

    type: str
    """docker, containerd, cri-o or podman, as Falco's container.type."""
    full_id: str
    """64 hexadecimal digits."""
    pod_uid: str | None = None
    cgroup: str = ""
    """The path of the container's own cgroup. Two cgroups that claim the same id are two containers."""
    is_certain: bool = True
    """Whether only root of the host can have created this cgroup. Where root of a container or an unprivileged user can
    create it, the id may be forged and the runtime has to confirm it."""

    @property
    def id(self) -> str:
        """The first 12 digits, as people and rules use them."""
        return self.full_id[:12]

    @property
    def key(self) -> str:
        """Unique key, which differs from that of a container that only claims the same id."""
        return self.cgroup or self.full_id


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

        Args:
            path: the cgroup's path from its root, as in /proc/PID/cgroup and in kernel records.

        Source: the naming in runc's, containerd's, CRI-O's, podman's and the kubelet's cgroup managers.
        """
        parts = _split(path)
        if not path.startswith("/") or len(parts) >= MAX_DEPTH or ".." in parts:
            return None
        found: ContainerName | None = None
        begin = 0
        while (at := self._outermost(parts, begin)) is not None:
            kind, full_id = _kind(parts, at)
            is_certain = begin == 0 and parts[0] != _USERS
            found = ContainerName(kind, full_id, _pod_uid(parts, at), "/" + "/".join(parts[: at + 1]), is_certain)
            begin = at + 1
        return found

    def _outermost(self, parts: list[str], begin: int) -> int | None:
        """Return the index of the next container's name: the first on the host, or the next one inside a container."""
        if begin:
            inside = begin + (parts[begin : begin + 1] == ["container"])  # where Podman and CRI-O put the processes
            return _first(parts, inside)
        if parts and parts[0] != _USERS and (at := _first(parts, 0)) is not None:
            return at
        for parent in self._parents:
            if _is_below(parts, parent) and (at := _first(parts, len(parent), is_parent=True)) is not None:
                return at
        return None


container_of = Naming().container_of
"""Naming without further parents."""


def _split(path: str) -> list[str]:
    return [part for part in path.split("/") if part]


def _is_below(parts: list[str], parent: tuple[str, ...]) -> bool:
    return len(parts) > len(parent) and all(map(fnmatchcase, parts, parent))


def _first(parts: list[str], root: int, *, is_parent: bool = False) -> int | None:
    """Return the index below a root at which a runtime names a container; None if there is none."""
    for at in range(root, len(parts)):
        above = parts[root:at]
        if (is_parent and not above and _BARE.match(parts[at])) or _is_made_by_a_runtime(above, parts[at]):
            return at
    return None


def _is_made_by_a_runtime(above: list[str], name: str) -> bool:
    """Return whether a runtime creates a container of this name below these cgroups.

    Slices count whatever their names are: systemd creates them for root only and never delegates them. It may delegate
    a service or a scope, whose owner then creates any cgroup below it.
    """
    if above[:1] == ["kubelet"]:
        above = above[1:]
    if _SCOPED.match(name) and all(each.endswith(".slice") for each in above):
        return True
    if _COLON.match(name):
        return not above or (above[-1] in _RUNTIMES and all(each.endswith(".slice") for each in above[:-1]))
    if _SCOPED.match(name) or _BARE.match(name):
        return (len(above) == 1 and above[0] in _FOLDERS) or _is_pod(above)
    return False


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


def _kind(parts: list[str], at: int) -> tuple[str, str]:
    name = parts[at]
    scoped = _SCOPED.match(name) or _COLON.match(name)
    if scoped:
        return _TYPES[scoped["prefix"]], scoped["id"]
    folder = parts[at - 1] if at else ""
    # The kubelet's plain layout is the same for each runtime; containerd is by far the most common one.
    return _FOLDERS.get(folder, "containerd" if _POD.match(folder) else "docker"), name


def _pod_uid(parts: list[str], at: int) -> str | None:
    for folder in (*reversed(parts[:at]), parts[at].split(":", 1)[0]):
        pod = _POD.match(folder)
        if pod:
            return pod["uid"].replace("_", "-")
    return None
