"""Records as the kernel side writes them, packed independently from the structs of lanner.bpf.c."""

import struct
from collections.abc import Sequence

SYSCALL, FORK, EXEC, STATE, EXIT, REQUEST, RESULT = range(1, 8)
COMPAT, KERNEL_PATH_CUT, OVERLAY, UPPER, PSEUDO, ARGS_CUT, DATA_CUT, CREATED = (1 << bit for bit in range(8))
ENV_CUT, SCRIPT, SECURE, CODE_UNKNOWN = 512, 1024, 2048, 4096


def head(kind: int, flags: int = 0, uid: int = 1000) -> bytes:
    """Pack struct head: time, start_time, cgroup_id, tgid, tid, uid, exec_id, kind, flags, cpu."""
    return struct.pack("<3Q4I2HI", 111, 222, 333, 10, 11, uid, 4, kind, flags, 3)


def syscall(
    *,
    flags: int = 0,
    event: int = 7,
    result: int = 0,
    arguments: Sequence[int] = (1, 2, 3, 4, 5, 6),
    fd: int = -1,
    mode: int = 0,
    ino: int = 0,
    dev: int = 0,
    magic: int = 0,
    kernel_path: bytes = b"",
    path1: bytes = b"",
    path2: bytes = b"",
    directory1: bytes = b"",
    directory2: bytes = b"",
    blob1: bytes = b"",
    blob2: bytes = b"",
    socket: bytes = b"",
    uid: int = 1000,
) -> bytes:
    """Pack struct syscall_record; its parts are in the order in which on_sys_exit appends them."""
    fixed = struct.pack("<q6QQIIiHHII", result, *arguments, ino, dev, magic, fd, mode, event, 12, 0)
    pieces = (kernel_path, path1, path2, directory1, directory2, blob1, blob2, socket)
    lengths = struct.pack("<8H", *map(len, pieces))
    return (
        head(SYSCALL, flags, uid)
        + fixed
        + lengths
        + b"".join((socket, kernel_path, path1, directory1, path2, directory2, blob1, blob2))
    )


def request(
    *,
    address: int,
    ring: int,
    user_data: int,
    marks: int = 0,
    kind: int = REQUEST,
    path1: bytes = b"",
    blob1: bytes = b"",
) -> bytes:
    """Pack a syscall_record whose data begins with a struct request."""
    call = syscall(path1=path1, blob1=blob1)
    start = len(call) - len(path1) - len(blob1)
    words = struct.pack("<3QI4x", address, ring, user_data, marks)
    return head(kind) + call[len(head(kind)) : start] + words + call[start:]


def socket_info(
    family: int,
    *,
    kind: int = 1,
    protocol: int = 6,
    local_port: int = 0,
    remote_port: int = 0,
    state: int = 0,
    local: bytes = b"",
    remote: bytes = b"",
    name: bytes = b"",
) -> bytes:
    """Pack struct socket_info."""
    numbers = struct.pack("<6HB3x", family, kind, protocol, local_port, remote_port, len(name), state)
    return numbers + local.ljust(16, b"\0") + remote.ljust(16, b"\0") + name.ljust(128, b"\0")


def state(*, comm: bytes = b"bash", loginuid: int = 1000) -> bytes:
    """Pack struct state."""
    numbers = struct.pack("<10I", 21, 22, 23, 24, 25, 34816, loginuid, 26, 27, 28)
    return numbers + struct.pack("<4Q16s", 31, 32, 33, 34, comm)


def process(
    kind: int,
    *,
    flags: int = 0,
    comm: bytes = b"bash",
    loginuid: int = 1000,
    number: int = 59,
    changed: tuple[int, int] = (5, 6),
    modified: tuple[int, int] = (7, 8),
    exepath: bytes = b"",
    cwd: bytes = b"",
    args: bytes = b"",
    env: bytes = b"",
    filename: bytes = b"",
    cgroup: bytes = b"",
) -> bytes:
    """Pack struct process_record; times are (seconds, nanoseconds)."""
    pieces = (exepath, cwd, args, env, filename, cgroup)
    return b"".join(
        (
            head(kind, flags),
            state(comm=comm, loginuid=loginuid),
            struct.pack("<Qqq", 41, changed[0], modified[0]),
            struct.pack("<6IH6x", changed[1], modified[1], 42, 43, 44, number, 0o100755),
            struct.pack("<8H", *map(len, pieces), 0, 0),
            *pieces,
        )
    )


def fork() -> bytes:
    """Pack struct fork_record."""
    return head(FORK) + struct.pack("<QIIII", 51, 52, 53, 54, 55)


def end() -> bytes:
    """Pack struct exit_record."""
    return head(EXIT) + struct.pack("<II", 0x100, 0)
