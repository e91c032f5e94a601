"""Container ids as runtimes write them into cgroup paths.

Only a known runtime's naming makes a container, and only where that runtime makes its cgroups: other software names its
cgroups by digits too, and a plain user may make cgroups of any name below those that systemd hands over to him. A host
process taken for a container's would be judged by the wrong rules.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import lru_cache

MAX_DEPTH = 16
"""As far as the kernel side walks up: a path of so many names may have lost its beginning."""

_ID = "[0-9a-f]{64}"
_SCOPED = re.compile(rf"(?P<prefix>docker|cri-containerd|crio|libpod)-(?:payload-)?(?P<id>{_ID})(?:\.scope)?\Z")
_BARE = re.compile(rf"{_ID}\Z")
# containerd writes slice:prefix:id for a pod where it was told of systemd names but uses plain cgroups.
_COLON = re.compile(rf"[^:]+\.slice:(?P<prefix>docker|cri-containerd|crio|libpod):(?P<id>{_ID})\Z")
_POD = re.compile(
    r"(?:[a-z-]*kubepods[a-z-]*-)?pod(?P<uid>[0-9a-f]{8}(?:[-_][0-9a-f]{4}){3}[-_][0-9a-f]{12}|[0-9a-f]{32})(?:\.slice)?\Z"
)

_TYPES = {"docker": "docker", "cri-containerd": "containerd", "crio": "cri-o", "libpod": "podman"}
_FOLDERS = {"docker": "docker", "libpod_parent": "podman", "machine.slice": "podman"}

_USERS = "user.slice"
"""Below it systemd hands cgroups over to whoever is logged in."""
_RUNTIMES = frozenset(
    f"{name}.service"
    for name in (
        *("containerd", "docker", "crio", "kubelet", "k3s", "k3s-agent", "rke2-server", "rke2-agent"),
        *("snap.docker.dockerd", "snap.microk8s.daemon-containerd"),
    )
)
"""Services in whose own cgroup a runtime may make those of containers."""
_QUALITIES = frozenset({"burstable", "besteffort"})


@dataclass(frozen=True, slots=True)
class ContainerName:
    """What a cgroup's path alone tells about a container."""

    type: str
    """docker, containerd, cri-o or podman, as Falco's container.type."""
    full_id: str
    """64 hexadecimal digits."""
    pod_uid: str | None = None
    cgroup: str = ""
    """The path of the container's own cgroup: two that claim the same id in different places are two."""
    is_certain: bool = True
    """Whether only root of the host can have made this cgroup. Where a container's root or a plain user can, its id
    may be made up, and the runtime has to confirm it."""

    @property
    def id(self) -> str:
        """The first 12 digits, which is what people and rules use."""
        return self.full_id[:12]

    @property
    def key(self) -> str:
        """What tells it from all other containers, and from those that only claim its id."""
        return self.cgroup or self.full_id


class Naming:
    """Where runtimes make their cgroups on this host.

    Args:
        parents: paths of further cgroups below which they do, such as that of a user who runs rootless Podman; `*`
            stands for any part of one name.
    """

    def __init__(self, parents: Iterable[str] = ()) -> None:
        self._parents = tuple(tuple(_split(parent)) for parent in parents)
        # Memberships are asked for at each exec, and a host has few cgroups: answers are remembered.
        self.container_of = lru_cache(maxsize=4096)(self._container_of)

    def _container_of(self, path: str) -> ContainerName | None:
        """Tell which container a cgroup belongs to, the innermost one where containers are nested.

        Args:
            path: the cgroup's path from its root, as /proc/PID/cgroup and the kernel side give it.

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
        """Return where the next container is named: the first on the host, or the next below the one around it."""
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
"""As Naming's, where no further parents are configured."""


def _split(path: str) -> list[str]:
    return [part for part in path.split("/") if part]


def _is_below(parts: list[str], parent: tuple[str, ...]) -> bool:
    return len(parts) > len(parent) and all(map(fnmatchcase, parts, parent))


def _first(parts: list[str], root: int, *, is_parent: bool = False) -> int | None:
    """Return where below a root a container is named and a runtime makes them; None where there is none."""
    for at in range(root, len(parts)):
        above = parts[root:at]
        if (is_parent and not above and _BARE.match(parts[at])) or _is_made_by_a_runtime(above, parts[at]):
            return at
    return None


def _is_made_by_a_runtime(above: list[str], name: str) -> bool:
    """Tell whether a runtime gives a container such a name below such cgroups.

    Slices count whatever they are called, for systemd makes them for root alone and hands none over: a service or scope
    it may, and then whoever runs there makes what he likes below.
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
    """Tell whether these are the kubelet's cgroups of a pod, as it names them without systemd."""
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
    # The kubelet's plain layout is the same for each runtime; containerd is by far the commonest today.
    return _FOLDERS.get(folder, "containerd" if _POD.match(folder) else "docker"), name


def _pod_uid(parts: list[str], at: int) -> str | None:
    for folder in (*reversed(parts[:at]), parts[at].split(":", 1)[0]):
        pod = _POD.match(folder)
        if pod:
            return pod["uid"].replace("_", "-")
    return None
