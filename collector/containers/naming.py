"""Container ids as runtimes write them into cgroup paths.

Only a known runtime's naming makes a container: other software names its cgroups by digits too, and a host process
taken for a container's would be judged by the wrong rules.
"""

import re
from dataclasses import dataclass
from functools import lru_cache

MAX_DEPTH = 16
"""As far as the kernel side walks up."""

_ID = "[0-9a-f]{64}"
_SCOPED = re.compile(rf"(?P<prefix>docker|cri-containerd|crio|libpod)-(?:payload-)?(?P<id>{_ID})(?:\.scope)?\Z")
_BARE = re.compile(rf"{_ID}\Z")
# containerd writes slice:prefix:id for a pod where it was told of systemd names but uses plain cgroups.
_COLON = re.compile(rf"[^:]+\.slice:(?P<prefix>docker|cri-containerd|crio|libpod):(?P<id>{_ID})\Z")
_POD = re.compile(
    r"(?:kubepods[a-z-]*-)?pod(?P<uid>[0-9a-f]{8}(?:[-_][0-9a-f]{4}){3}[-_][0-9a-f]{12}|[0-9a-f]{32})(?:\.slice)?\Z"
)

_TYPES = {"docker": "docker", "cri-containerd": "containerd", "crio": "cri-o", "libpod": "podman"}
_FOLDERS = {"docker": "docker", "libpod_parent": "podman", "machine.slice": "podman"}


@dataclass(frozen=True, slots=True)
class ContainerName:
    """What a cgroup's path alone tells about a container."""

    type: str
    """docker, containerd, cri-o or podman, as Falco's container.type."""
    full_id: str
    """64 hexadecimal digits."""
    pod_uid: str | None = None

    @property
    def id(self) -> str:
        """The first 12 digits, which is what people and rules use."""
        return self.full_id[:12]


@lru_cache(maxsize=4096)
def container_of(path: str) -> ContainerName | None:
    """Tell which container a cgroup belongs to, the innermost one where containers are nested.

    Memberships are asked for at each exec, and a host has few cgroups: answers are remembered.

    Args:
        path: the cgroup's path from its root, as /proc/PID/cgroup and the kernel side give it.

    Source: the naming in runc's, containerd's, CRI-O's, podman's and the kubelet's cgroup managers.
    """
    parts = [part for part in path.split("/") if part]
    for at in range(len(parts) - 1, max(-1, len(parts) - 1 - MAX_DEPTH), -1):
        found = _match(parts, at)
        if found is not None:
            kind, full_id = found
            return ContainerName(kind, full_id, _pod_uid(parts, at))
    return None


def _match(parts: list[str], at: int) -> tuple[str, str] | None:
    name = parts[at]
    scoped = _SCOPED.match(name) or _COLON.match(name)
    if scoped:
        return _TYPES[scoped["prefix"]], scoped["id"]
    if not _BARE.match(name) or at == 0:
        return None
    folder = parts[at - 1]
    if folder in _FOLDERS:
        return _FOLDERS[folder], name
    if _POD.match(folder) and _below_kubepods(parts, at):
        # The kubelet's plain layout is the same for each runtime; containerd is by far the commonest today.
        return "containerd", name
    return None


def _below_kubepods(parts: list[str], at: int) -> bool:
    return any(part.startswith("kubepods") for part in parts[:at])


def _pod_uid(parts: list[str], at: int) -> str | None:
    for folder in (*reversed(parts[:at]), parts[at].split(":", 1)[0]):
        pod = _POD.match(folder)
        if pod:
            return pod["uid"].replace("_", "-")
    return None
