"""The parts of a process's facts, as immutable values shared among relatives.

A fork copies references only; an exec replaces one part, a setuid another. They are not frozen, although they must not
be changed: creating a frozen one takes twice as long.
"""

from dataclasses import dataclass, field
from typing import Any, Protocol

from collector.records.types import Exec, ExecParts, State
from foundation.caches import BoundedMap

_CAP_DAC_OVERRIDE = 1 << 1
_CAP_FOWNER = 1 << 3
_GROUP_MAY_WRITE = 0o020
_OTHERS_MAY_WRITE = 0o002
_MAX_SHARED = 128


@dataclass(slots=True, unsafe_hash=True)
class ExecutedProgram:
    """The program that a process runs since its last exec; None means unknown."""

    name: str | None = None
    exe: str | None = None
    exepath: str | None = None
    codepath: str | None = None
    """The path of the program or script; None if it may run code of whoever started it."""
    args: tuple[str, ...] | None = None
    """All arguments but the first."""
    env: tuple[str, ...] | None = None
    exe_ino: int | None = None
    exe_mode: int | None = None
    exe_uid: int | None = None
    exe_gid: int | None = None
    exe_ctime: int | None = None
    """Epoch nanoseconds."""
    exe_mtime: int | None = None
    is_upper_layer: bool | None = None
    """Only the kernel side knows the layer of an overlay file system."""
    is_lower_layer: bool | None = None
    is_from_memfd: bool | None = None
    is_writable: bool | None = None
    """True if its process may write it; None derives that from the file's mode."""
    is_args_truncated: bool = False
    is_env_truncated: bool = False
    exe_dev: int | None = None
    """Number of the executable's file system, as the kernel has it."""
    is_start_seen: bool = False
    script: str | None = None
    """The path of the script that it was asked to run, if its start was seen."""
    known: Any = field(default=None, compare=False, repr=False)
    """What KnownPrograms knows of its file, so that it isn't looked up for each event."""


@dataclass(slots=True, unsafe_hash=True)
class Credentials:
    """The effective ids and capability sets of a process."""

    uid: int
    gid: int | None = None
    cap_effective: int | None = None
    cap_permitted: int | None = None
    cap_inheritable: int | None = None


@dataclass(slots=True, unsafe_hash=True)
class ProcessContext:
    """The surroundings of a process: session, terminal, namespaces, directory, cgroup."""

    ppid: int | None = None
    """The kernel's parent as last reported: after the parent's end, the process that adopted this one."""
    vpid: int | None = None
    pgid: int | None = None
    vpgid: int | None = None
    sid: int | None = None
    tty: int | None = None
    loginuid: int | None = None
    pid_namespace: int | None = None
    mount_namespace: int | None = None
    pid_namespace_init_start: int | None = None
    """Boot-clock nanoseconds."""
    cwd: str | None = None
    cgroup: str | None = None


@dataclass(frozen=True, slots=True)
class ProcessFacts:
    """One process as shown by /proc in one read."""

    pid: int
    start_ticks: int
    """Start on the boot clock in 10 ms ticks, the resolution of /proc."""
    program: ExecutedProgram
    credentials: Credentials
    context: ProcessContext


UNKNOWN_PROGRAM = ExecutedProgram()


def is_exe_writable(program: ExecutedProgram, credentials: Credentials) -> bool | None:
    """Return whether a process may write the file it runs, or None if a fact is missing.

    An owner counts as able to write whatever the mode, because chmod is one call away. Supplementary groups, access
    lists and read-only mounts are ignored.

    Source: proc.is_exe_writable in Falco's field reference; capabilities(7) on CAP_DAC_OVERRIDE and CAP_FOWNER.
    """
    if program.is_writable is not None:
        return program.is_writable
    if program.exe_mode is None or program.exe_uid is None or program.exe_gid is None:
        return None
    if program.exe_uid == credentials.uid or program.exe_mode & _OTHERS_MAY_WRITE:
        return True
    if credentials.cap_effective is None or credentials.gid is None:
        return None
    if credentials.cap_effective & (_CAP_DAC_OVERRIDE | _CAP_FOWNER):
        return True
    return bool(program.exe_mode & _GROUP_MAY_WRITE and program.exe_gid == credentials.gid)


def program_of(record: Exec) -> ExecutedProgram:
    """Return the program of an exec record."""
    args = record.args
    # Positional arguments: keywords take longer.
    return ExecutedProgram(
        record.state.comm,
        args[0] if args else None,
        record.exepath or None,
        record.codepath,
        args[1:],
        record.env,
        record.exe_ino,
        record.exe_mode,
        record.exe_uid,
        record.exe_gid,
        record.exe_ctime,
        record.exe_mtime,
        record.is_upper_layer,
        record.is_lower_layer,
        record.is_from_memfd,
        None,
        record.args_truncated,
        record.env_truncated,
        record.exe_dev,
        True,
        record.script,
    )


def credentials_of(state: State) -> Credentials:
    """Return the credentials of the thread that made the record."""
    return Credentials(state.who.uid, state.gid, state.cap_effective, state.cap_permitted, state.cap_inheritable)


class ExecCache:
    """ExecCache and credentials of execs: the same objects for similar ones, which thousands of processes may be."""

    def __init__(self) -> None:
        self._known: BoundedMap[ExecParts, tuple[ExecutedProgram, Credentials]] = BoundedMap(_MAX_SHARED)

    def of(self, record: Exec) -> tuple[ExecutedProgram, Credentials]:
        """Return the program and the credentials of an exec."""
        found = None if record.parts is None else self._known.get(record.parts)
        if found is None:
            found = program_of(record), credentials_of(record.state)
            if record.parts is not None:
                self._known.put(record.parts, found)
        return found


def context_of(state: State) -> ProcessContext:
    """Return the process's surroundings."""
    return ProcessContext(
        state.ppid,
        state.vpid,
        state.pgid,
        state.vpgid,
        state.sid,
        state.tty,
        state.loginuid,
        state.pid_namespace,
        state.mount_namespace,
        state.pid_namespace_init_start,
        state.cwd or None,
        state.cgroup or None,
    )


class ProcfsReader(Protocol):
    """The reader of /proc for the table; each result is None if the process has ended."""

    def read(self, pid: int) -> ProcessFacts | None:
        """Read one process."""

    def read_credentials(self, pid: int, tid: int) -> Credentials | None:
        """Read the credentials of one thread."""

    def read_cgroup(self, pid: int) -> str | None:
        """Read the path of its cgroup."""
