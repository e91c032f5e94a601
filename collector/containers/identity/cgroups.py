"""Looks at cgroups in the mounted hierarchy that container names come from."""

from pathlib import Path

from collector.processes.procfs.bounded_read import read_file

MOUNTS = tuple(map(Path, ("/sys/fs/cgroup/pids", "/sys/fs/cgroup/systemd", "/sys/fs/cgroup")))
"""Where the hierarchy may be mounted: of version 1 (the first two), or the unified one."""
MAX_PROCESSES = 8
_MAX_LIST = 1 << 10


def exists(cgroup: str) -> bool:
    """Return whether a cgroup exists.

    Args:
        cgroup: its path from its root.
    """
    return any(Path(f"{mount}{cgroup}").is_dir() for mount in MOUNTS)


def processes(cgroup: str) -> list[int]:
    """Return the first processes in a cgroup, at most MAX_PROCESSES.

    Args:
        cgroup: its path from its root.
    """
    for mount in MOUNTS:
        text = read_file(f"{mount}{cgroup}/cgroup.procs", _MAX_LIST)
        if text:
            return [int(line) for line in text.split()[:MAX_PROCESSES]]
    return []
