"""The containers of captured threads, by their cgroups as Falco's container plugin reads them (its matchers).

A live host has stricter rules (collector.containers): Falco takes any path of two parts for a container of containerd
unless systemd made it, and so some processes of the host for those of containers.
"""

import re
from functools import lru_cache

from collector.containers.identity.naming import ContainerName, container_of

_ID_LENGTH = 64
_NO_HEXADECIMAL = re.compile("[^0-9a-fA-F]")
_LAYOUTS = (
    ("podman", "/libpod-", ".scope"),
    ("podman", "/libpod-", ".scope/container"),
    ("podman", "/libpod-", ""),
    ("podman", "/libpod-payload-", ".scope"),
    ("podman", "/libpod-payload-", ".scope/container"),
    ("podman", "/libpod-payload-", ""),
    ("docker", "/", ""),
    ("docker", "/docker-", ".scope"),
    ("cri-o", "/crio-", ""),
    ("containerd", "/cri-containerd-", ".scope"),
    ("cri-o", "/crio-", ".scope"),
    ("containerd", ":cri-containerd:", ""),
    ("containerd", "/nerdctl-", ".scope"),
)
"""What stands before and after an id of 64 digits, in the order in which it is looked for."""
_NAMESPACE = re.compile(r"/[A-Za-z0-9]+(?:[._-][A-Za-z0-9]+)*/")
_OF_SYSTEMD = (".service", ".slice", ".scope")
_LXC = ("/lxc/", "/lxc.payload/", "/lxc.payload.")
_LIBVIRT = ".libvirt-lxc"
_CONTROLLER = re.compile(r"^(.*?)(?:_cgroup)?(?==)")
_CONTROLLERS = {"perf": "perf_event", "mem": "memory", "io": "blkio"}
"""Names of cgroups' controllers in the kernel, and those that Falco gives them."""


def cgroups_of(cgroups: tuple[str, ...]) -> tuple[ContainerName | None, str]:
    """Return the container that cgroups (``cpu=/docker/...``) belong to, and their text."""
    if not cgroups:
        return None, ""
    named = (_container_of(each.partition("=")[2]) for each in cgroups)
    text = " ".join(_CONTROLLER.sub(lambda found: _CONTROLLERS.get(found[1], found[1]), each) for each in cgroups)
    return next((name for name in named if name is not None), None), text


@lru_cache(maxsize=4096)
def _container_of(path: str) -> ContainerName | None:
    found = _by_id(path) or _by_namespace(path) or _by_name(path)
    name = container_of(path)
    return found if found is None or name is None or name.id != found.id else name


def _by_id(path: str) -> ContainerName | None:
    for kind, before, after in _LAYOUTS:
        start = path.rfind(before)
        end = path.rfind(after) if after else len(path)
        start += len(before)
        if start < len(before) or end - start != _ID_LENGTH:
            continue
        other = _NO_HEXADECIMAL.search(path, start)
        # Falco compares the place in the path, and not in the id.
        if other is None or other.start() >= _ID_LENGTH:
            return ContainerName(kind, path[start:end])
    return None


def _by_namespace(path: str) -> ContainerName | None:
    found = _NAMESPACE.search(path)
    if found is None or path.endswith(_OF_SYSTEMD):
        return None
    rest = path[path.rfind(found[0]) + len(found[0]) :]
    return ContainerName("containerd", rest) if 0 < len(rest) <= _ID_LENGTH else None


def _by_name(path: str) -> ContainerName | None:
    for prefix in _LXC:
        _, found, rest = path.partition(prefix)
        if found:
            return ContainerName("lxc", rest.partition("/")[0])
    if path.endswith(_LIBVIRT):
        return ContainerName("libvirt_lxc", path.removesuffix(_LIBVIRT).rpartition("/")[2])
    return None
