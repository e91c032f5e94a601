"""Finds the process with which a runtime watches a container: containerd's shim, or conmon for CRI-O and Podman.

Its command line and its working directory reveal where the runtime stores bundles and on which socket it listens, for
any distribution, without a setting.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from collector.containers.identity.naming import container_of
from collector.processes.procfs.bounded_read import read_file
from collector.processes.procfs.parse import parse_cgroup, parse_cmdline, parse_stat, parse_status

MAX_STEPS = 16
"""Ancestors looked at; a shim starts a container's first process by way of runc, and an exec's likewise."""
MAX_STATUS = 1 << 14

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


def shim_of(pid: int, is_inside: Callable[[str], bool], proc: Path = Path("/proc")) -> Shim | None:
    """Return the shim that a process descends from; None if there is none, or the process has exited.

    A process of the container can take a shim's name and arguments. Only root outside the container is believed.

    Args:
        pid: a process of the container.
        is_inside: returns whether a cgroup's path is the container's or below it.
        proc: where procfs is mounted.
    """
    for _ in range(MAX_STEPS):
        stat = parse_stat(read_file(f"{proc}/{pid}/stat", MAX_STATUS) or b"")
        if stat is None:
            return None
        shim = _shim_at(pid, stat.comm, proc)
        if shim is not None and _is_roots(pid, proc) and not is_inside(_cgroup(pid, proc)):
            return shim
        pid = stat.ppid
        if pid <= 1:
            return None
    return None


def is_shim(comm: str) -> bool:
    """Return whether a process has a shim's name."""
    return comm.startswith(_SHIM) or comm == _CONMON


def shim_at(pid: int, proc: Path = Path("/proc")) -> Shim | None:
    """Return what a shim of the host itself reveals; None for another process. One in a container may be anybody's.

    Args:
        pid: the process.
        proc: where procfs is mounted.
    """
    stat = parse_stat(read_file(f"{proc}/{pid}/stat", MAX_STATUS) or b"")
    shim = None if stat is None else _shim_at(pid, stat.comm, proc)
    if shim is None or not _is_roots(pid, proc) or container_of(_cgroup(pid, proc)) is not None:
        return None
    return shim


def _shim_at(pid: int, comm: str, proc: Path) -> Shim | None:
    if not is_shim(comm):
        return None
    return parse_shim(pid, comm, parse_cmdline(read_file(f"{proc}/{pid}/cmdline", MAX_STATUS) or b""))


def _is_roots(pid: int, proc: Path) -> bool:
    status = parse_status(read_file(f"{proc}/{pid}/status", MAX_STATUS) or b"")
    return status is not None and status.uid == 0


def _cgroup(pid: int, proc: Path) -> str:
    return parse_cgroup(read_file(f"{proc}/{pid}/cgroup", MAX_STATUS) or b"") or ""


def _value_after(arguments: Sequence[str], flag: str) -> str | None:
    return next((value for key, value in pairwise(arguments) if key == flag), None)
