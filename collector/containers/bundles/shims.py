"""Finds the process with which a runtime watches a container: containerd's shim, or conmon for CRI-O and Podman.

Its command line and its working directory reveal where the runtime stores bundles and on which socket it listens, for
any distribution, without a setting.
"""

import stat as modes
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from collector.containers.identity.isolation import host_mount_namespaces
from collector.containers.identity.naming import ContainerName, container_of
from collector.processes.procfs.bounded_read import read_file
from collector.processes.procfs.cached_stat import cached_stat
from collector.processes.procfs.parse import parse_cgroup, parse_cmdline, parse_stat, parse_status

MAX_STEPS = 16
"""Ancestors looked at; a shim starts a container's first process by way of runc, and an exec's likewise."""
MAX_STATUS = 1 << 14
DELETED = " (deleted)"
"""Follows the path of a file that was removed, such as that of a program after an upgrade."""

_SHIM = "containerd-shim"
_CONMON = "conmon"


@dataclass(frozen=True, slots=True)
class Shim:
    """What the command line of a runtime's shim reveals."""

    pid: int
    namespace: str | None = None
    """containerd's namespace; None for conmon."""
    socket: str | None = None
    """containerd's socket; None for conmon, which knows none."""
    bundle: str | None = None
    """The bundle's directory; None for containerd's shim, whose working directory is that of its first container."""


def parse_shim(pid: int, comm: str, arguments: Sequence[str]) -> Shim | None:
    """Return what a process reveals as a shim; None if it isn't one.

    Args:
        pid: the process.
        comm: its name in the kernel, at most 15 bytes.
        arguments: its command line.

    Source: the flags of containerd's runtime/v2/shim and of conmon.
    """
    if comm.startswith(_SHIM):
        namespace, socket = (_value_after(arguments, f"-{flag}") for flag in ("namespace", "address"))
        return None if namespace is None else Shim(pid, namespace, socket)
    if comm == _CONMON:
        bundle = _value_after(arguments, "-b") or _value_after(arguments, "--bundle")
        return None if bundle is None else Shim(pid, bundle=bundle)
    return None


def shim_of(pid: int, name: ContainerName, proc: Path = Path("/proc")) -> Shim | None:
    """Return the shim that a container's process descends from; None if there is none, or the process has exited.

    Anybody can take a shim's name and arguments. Only root's own processes are believed that run outside the container:
    on the host itself or, if the container is nested, in the outermost one.

    Args:
        pid: a process of the container.
        name: the container.
        proc: where procfs is mounted.
    """
    for _ in range(MAX_STEPS):
        stat = parse_stat(read_file(f"{proc}/{pid}/stat", MAX_STATUS) or b"")
        if stat is None:
            return None
        if is_shim(stat.comm) and _is_beside(pid, name, proc) and (shim := _shim(pid, stat.comm, proc)) is not None:
            return shim
        pid = stat.ppid
        if pid <= 1:
            return None
    return None


def shim_at(pid: int, proc: Path = Path("/proc")) -> Shim | None:
    """Return what a shim of the host itself reveals; None for another process. One in a container may be anybody's.

    Args:
        pid: the process.
        proc: where procfs is mounted.
    """
    stat = parse_stat(read_file(f"{proc}/{pid}/stat", MAX_STATUS) or b"")
    if stat is None or not is_shim(stat.comm) or not _is_on_host(pid, proc):
        return None
    return _shim(pid, stat.comm, proc)


def is_shim(name: str) -> bool:
    """Return whether a process or a program has a shim's name."""
    return name.startswith(_SHIM) or name == _CONMON


def is_roots_program(uid: int, mode: int) -> bool:
    """Return whether only root can have written a program, and it gives nobody who runs it other rights.

    Args:
        uid: the owner of its file.
        mode: the mode of its file.
    """
    return uid == 0 and not mode & (modes.S_ISUID | modes.S_ISGID | modes.S_IWGRP | modes.S_IWOTH)


def is_roots_shim(process: str) -> bool:
    """Return whether a process is root's own, and runs a shim's program that only root can have written.

    A setuid program also has root's effective id, and a name and arguments that any user chose. A user's namespace
    gives root's id inside of it, but not here.

    Args:
        process: the process's directory in procfs.
    """
    status = parse_status(read_file(f"{process}/status", MAX_STATUS) or b"")
    if status is None or status.uids != {0}:
        return False
    with suppress(OSError):
        program, file = Path(f"{process}/exe").readlink().name, cached_stat(f"{process}/exe")
        return file.is_regular and is_roots_program(file.uid, file.mode) and is_shim(program.removesuffix(DELETED))
    return False


def _shim(pid: int, comm: str, proc: Path) -> Shim | None:
    """Return what a process reveals whose place is a shim's.

    Its arguments are read last: another user's process could hold up whoever reads its memory.
    """
    if not is_roots_shim(f"{proc}/{pid}"):
        return None
    return parse_shim(pid, comm, parse_cmdline(read_file(f"{proc}/{pid}/cmdline", MAX_STATUS) or b""))


def _is_beside(pid: int, name: ContainerName, proc: Path) -> bool:
    """Return whether a process runs where the runtime of a container does."""
    cgroup = _cgroup(pid, proc)
    if _is_inside(name.cgroup, cgroup):
        return False
    return _is_inside(name.outer, cgroup) if name.outer else _is_on_host(pid, proc)


def _is_on_host(pid: int, proc: Path) -> bool:
    with suppress(OSError):
        namespace = Path(f"{proc}/{pid}/ns/mnt").stat().st_ino
        return namespace in host_mount_namespaces(proc) and container_of(_cgroup(pid, proc)) is None
    return False


def _is_inside(container: str, path: str) -> bool:
    """Return whether a cgroup's path is a container's or below it."""
    return path == container or path.startswith(f"{container}/")


def _cgroup(pid: int, proc: Path) -> str:
    return parse_cgroup(read_file(f"{proc}/{pid}/cgroup", MAX_STATUS) or b"") or ""


def _value_after(arguments: Sequence[str], flag: str) -> str | None:
    return next((value for key, value in pairwise(arguments) if key == flag), None)
