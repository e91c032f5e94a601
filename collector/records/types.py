"""Decoded kernel records, one class for each kind.

They are plain values, so that all later stages run and are tested without a kernel. Times are boot-clock nanoseconds;
text is decoded with surrogateescape. Classes needed by every event or process are not frozen, because freezing doubles
the cost of creating one.
"""

from dataclasses import dataclass, field
from typing import Any


@dataclass(slots=True)
class ProcessIdentity:
    """The maker of a record. (pid, start_time) identifies a process permanently, exec_generation its program."""

    time: int
    pid: int
    tid: int
    start_time: int
    """Boot-clock creation time of the main thread."""
    exec_generation: int
    """The kernel's self_exec_id, which each exec increments."""
    uid: int
    """Effective user id, as Falco's user.uid."""
    cgroup_id: int
    """Inode number of the pids cgroup (v1) or of the unified one (v2)."""


@dataclass(slots=True)
class Fork:
    """A new process (not a thread). All other facts are its parent's."""

    who: ProcessIdentity
    """The parent."""
    pid: int
    start_time: int
    vpid: int
    exec_generation: int
    real_parent_pid: int
    """Differs from the caller under CLONE_PARENT."""


@dataclass(slots=True)
class State:
    """Everything about a process that a system call may change, read from the kernel after the change."""

    who: ProcessIdentity
    ppid: int
    vpid: int
    pgid: int
    vpgid: int
    sid: int
    tty: int
    """Device number, 0 for none."""
    loginuid: int
    """-1 where unset."""
    gid: int
    cap_effective: int
    cap_permitted: int
    cap_inheritable: int
    pid_namespace: int
    mount_namespace: int
    pid_namespace_init_start: int
    comm: str
    """Name of the main thread."""
    cwd: str
    cgroup: str
    """The cgroup's path from its root, at most 16 levels: /docker/3d09256e..."""


@dataclass(slots=True, eq=False)
class ExecParts:
    """The facts that similar execs share, compared by identity: they differ only in process, times, parent and CPU."""

    state: tuple[Any, ...]
    """Members of State after `vpid`."""
    image: tuple[Any, ...]
    """Members of Exec after `state`; the CPU is 0."""


@dataclass(slots=True)
class Exec:
    """A new program: the process's state and all about the program."""

    state: State
    filename: str
    """As passed to execve."""
    exepath: str
    """The kernel's path of the executable."""
    codepath: str | None
    """The path of the program or script; None if it may run code of whoever started it."""
    args: tuple[str, ...]
    """Including the first."""
    args_truncated: bool
    """True if there are more arguments."""
    env: tuple[str, ...] | None
    """None if not requested."""
    exe_ino: int
    exe_dev: int
    exe_mode: int
    exe_uid: int
    exe_gid: int
    exe_ctime: int
    """Epoch nanoseconds."""
    exe_mtime: int
    is_upper_layer: bool
    is_lower_layer: bool
    is_from_memfd: bool
    event_type: str
    """execve or execveat."""
    cpu: int = 0
    env_truncated: bool = False
    """True if there are more variables than were read."""
    script: str | None = None
    """The path of the script that it was asked to run."""
    parts: ExecParts | None = field(default=None, compare=False, repr=False)
    """Where all members but `cpu` and what identifies the process come from; None if similar execs don't share them."""


@dataclass(slots=True)
class Exit:
    """The last thread of a process has ended."""

    who: ProcessIdentity
    status: int
    """As returned by wait(2)."""
    cpu: int = 0


Lifecycle = Fork | Exec | State | Exit


@dataclass(slots=True)
class File:
    """The open file behind a descriptor, as seen by the kernel."""

    mode: int
    """Type and permission bits (stat.h)."""
    dev: int
    ino: int
    magic: int
    """Magic number of the file system (linux/magic.h)."""
    path: str | None
    """From the root of the mount namespace; None if it has too many components. For files outside any directory (pipes,
    memfds …) their own name."""
    is_pseudo: bool
    is_created: bool
    """The open that returned the descriptor created the file."""
    is_upper_layer: bool
    is_lower_layer: bool
    is_new_setuid: bool = False
    """The open that returned the descriptor created the file, with the setuid bit."""


@dataclass(frozen=True, slots=True)
class Socket:
    """The socket behind a descriptor, as seen by the kernel."""

    family: int
    type: int
    protocol: int
    state: int
    """TCP state, which other protocols use too (net/tcp_states.h)."""
    local_ip: str
    remote_ip: str
    local_port: int
    remote_port: int
    unix_path: str
    """An abstract name begins with @."""
    is_server: bool | None = None
    """Whether a TCP socket was accepted, or has connected; None where the kernel doesn't show it."""


@dataclass(slots=True)
class Syscall:
    """One return from a system call."""

    who: ProcessIdentity
    event: int
    """Index in system_calls.CALLS."""
    cpu: int
    vtid: int
    is_compat: bool
    result: int
    arguments: tuple[int, int, int, int, int, int]
    """Registers, unsigned."""
    fd: int | None
    file: File | None
    socket: Socket | None
    path1: str | None
    """As passed; None if it could not be read."""
    path2: str | None
    directory1: str | None
    """The kernel's path of the directory that path1 starts from if it is relative, or of the root directory if that is
    another than the host's (chroot); else None."""
    directory2: str | None
    blob1: bytes
    blob2: bytes
    is_io_uring: bool = False
    """Done by io_uring without a system call; all fields are as if the call had been made."""
    repeats: int = 0
    """How many further equal calls of the process this one represents."""
    located: Any = None
    """The LocatedFile of the code that it opened or mapped, if that is looked up."""
    is_last_whole: bool = False
    """The process repeats the call: equal calls are counted from now on and come as RepeatCount."""
    socket_inode: int = 0
    """Identifies the socket, from when it is made until it is closed; 0 if there is none."""

    @property
    def is_below_other_root(self) -> bool:
        """True if an absolute path starts from another root directory than the host's (chroot)."""
        return bool(
            (self.directory1 and self.path1 and self.path1.startswith("/"))
            or (self.directory2 and self.path2 and self.path2.startswith("/"))
        )


@dataclass(frozen=True, slots=True)
class Request:
    """An io_uring request, when submitted or when completed."""

    call: Syscall
    """On submission all but the result and an opened file; on completion only these."""
    address: int
    """Address of the kernel's struct, which joins both records; 0 if the kernel doesn't provide it."""
    ring: int
    user_data: int
    """The program's own id for the request, which need not be unique."""
    is_done: bool
    is_untold: bool
    """The program requested a completion only on failure, so the kernel sends none for success."""
    is_multishot: bool
    """The request may complete many times."""
    connects: bool = False
    """The request sends data and connects, and both are watched."""


@dataclass(frozen=True, slots=True)
class RepeatCount:
    """How often a system call was repeated without being sent, because its process repeats it too fast."""

    slot: int
    generation: int
    """Generation of the slot's content; slot and generation identify the counted record."""
    count: int
    """Total so far."""
    last: int
    """Boot-clock nanoseconds of the latest repeat."""
    record: bytes
    """The call's record from its first occurrence."""
    is_final: bool
    """The slot has been reused for another record; the count is final."""


Record = Lifecycle | Syscall | Request | RepeatCount
