"""What the kernel side tells, decoded: one class for each kind of record.

They are plain values, so that everything behind them runs and is tested without a kernel. Times are boot-clock
nanoseconds as the kernel gave them; text is decoded with surrogateescape. Those that every event needs are not
frozen: that would double what it costs to make one.
"""

from dataclasses import dataclass


@dataclass(slots=True)
class ProcessIdentity:
    """Who made a record; (pid, start_time) names a process for ever, exec_generation its program."""

    time: int
    pid: int
    tid: int
    start_time: int
    """Boot-clock creation time of the main thread."""
    exec_generation: int
    """The kernel's self_exec_id: goes up by one at each exec."""
    uid: int
    """Effective user id, as Falco's user.uid."""
    cgroup_id: int
    """Inode number of the pids cgroup (v1) or of the unified one (v2)."""


@dataclass(frozen=True, slots=True)
class Fork:
    """A process (not a thread) came to be; all but these facts is its parent's."""

    who: ProcessIdentity
    """The parent."""
    pid: int
    start_time: int
    vpid: int
    exec_generation: int
    real_parent_pid: int
    """Differs from the caller under CLONE_PARENT."""


@dataclass(frozen=True, slots=True)
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
    """Of the main thread."""
    cwd: str
    cgroup: str
    """The cgroup's path from its root, as far up as 16 levels: /docker/3d09256e..."""


@dataclass(frozen=True, slots=True)
class Exec:
    """A new program runs: the process's state and all about the program."""

    state: State
    filename: str
    """As given to execve."""
    exepath: str
    """The kernel's path of the executable."""
    args: tuple[str, ...]
    """The first included."""
    args_truncated: bool
    """Whether there are more of them."""
    env: tuple[str, ...] | None
    """None where it wasn't asked for."""
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
    """Whether there is more environment."""


@dataclass(frozen=True, slots=True)
class Exit:
    """The last thread of a process is gone."""

    who: ProcessIdentity
    status: int
    """As wait(2) gives it."""
    cpu: int = 0


Lifecycle = Fork | Exec | State | Exit


@dataclass(slots=True)
class File:
    """The open file behind a descriptor, as the kernel has it."""

    mode: int
    """Type and permission bits (stat.h)."""
    dev: int
    ino: int
    magic: int
    """Of the file system (linux/magic.h)."""
    path: str | None
    """From the root of the mount namespace; None where it has too many components; for what is in no directory
    (pipes, memfds ...) its own name."""
    is_pseudo: bool
    is_created: bool
    """The open that gave the descriptor created it."""
    is_upper_layer: bool
    is_lower_layer: bool


@dataclass(frozen=True, slots=True)
class Socket:
    """The socket behind a descriptor, as the kernel has it."""

    family: int
    type: int
    protocol: int
    state: int
    """TCP's, which the other protocols use too (net/tcp_states.h)."""
    local_ip: str
    remote_ip: str
    local_port: int
    remote_port: int
    unix_path: str
    """An abstract name begins with @."""


@dataclass(slots=True)
class Syscall:
    """One return from a system call."""

    who: ProcessIdentity
    event: int
    """Position in syscalls.CALLS."""
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
    """As given; None where it could not be read."""
    path2: str | None
    directory1: str | None
    """The kernel's path of the directory that a relative path1 starts from; None where path1 is absolute."""
    directory2: str | None
    blob1: bytes
    blob2: bytes
    is_io_uring: bool = False
    """Done by io_uring, without a call; what it is about is as if the call had been made."""
    repeats: int = 0
    """How many more equal calls of the process this one stands for."""
    is_last_whole: bool = False
    """The process repeats the call: equal ones are counted from now on, and come as Repeats."""


@dataclass(frozen=True, slots=True)
class Request:
    """What an io_uring was asked to do, or what came of it."""

    call: Syscall
    """At first all but the result and an opened file; when it is done, only these."""
    address: int
    """Of the kernel's struct, which joins both; 0 where the kernel doesn't say whose result it is."""
    ring: int
    user_data: int
    """The program's own name for it, which need not be the only one."""
    is_done: bool
    is_untold: bool
    """The program asked for no word of it unless it fails, and so the kernel gives us none either."""
    is_multishot: bool
    """It may be done many times."""


@dataclass(frozen=True, slots=True)
class RepeatCount:
    """How often a system call came again without being sent, because its process repeats it too fast."""

    slot: int
    generation: int
    """Of the slot's content; together they name what was counted."""
    count: int
    """So far."""
    last: int
    """Boot-clock nanoseconds of the newest."""
    record: bytes
    """The call, as of the first time."""
    is_final: bool
    """The slot has gone to another record: it will not count more of these."""


Record = Lifecycle | Syscall | Request | RepeatCount
