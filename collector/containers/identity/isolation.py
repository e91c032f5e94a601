"""Recognizes containers by their namespaces, where no runtime's name in a cgroup's path reveals them.

A process with process ids and mounts of its own is in a container, whoever made it: rules for the host would see paths
and ids in it that mean something else. Such a container has type unknown until its bundle is found.
"""

import re
from contextlib import suppress
from pathlib import Path

from collector.containers.identity.naming import ContainerName, claimed_container
from collector.processes.parts import ProcessContext

UNKNOWN = "unknown"
_IN_NAMESPACE = re.compile(r"/[A-Za-z0-9_.-]+/(?P<id>[A-Za-z0-9][A-Za-z0-9_.-]{0,127})\Z")
"""/namespace/id, where containerd creates cgroups without systemd."""
_SYSTEMD = (".slice", ".scope", ".service")


def host_mount_namespaces(proc: Path = Path("/proc")) -> frozenset[int]:
    """Return the inode numbers of the mount namespaces that belong to no container.

    They are the first process's, which root may not always look at, and this one's.

    Args:
        proc: where procfs is mounted.
    """
    found = set()
    for process in ("1", "self"):
        with suppress(OSError):
            found.add((proc / process / "ns" / "mnt").stat().st_ino)
    return frozenset(found)


class Isolation:
    """Compares namespaces with those of the host.

    Args:
        host: inode numbers of the host's mount namespaces; if empty, no process counts as isolated.
    """

    def __init__(self, host: frozenset[int]) -> None:
        self._host = host

    def container_of(self, pid: int, context: ProcessContext) -> ContainerName | None:
        """Return the container of a process in pid and mount namespaces of its own; None if it has the host's.

        Args:
            pid: the process's id on the host.
            context: its namespaces and its cgroup.
        """
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
