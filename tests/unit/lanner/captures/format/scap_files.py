"""Writes small captures, by the event table, for tests."""

import gzip
import struct
from collections.abc import Mapping
from pathlib import Path

from lanner.captures.format.events import EVENTS, EventVersion

BEGINNING = 1_700_000_000_000_000_000
SIZES = {1: "<B", 2: "<H", 4: "<I", 8: "<Q"}
_WIDTHS = {
    **dict.fromkeys(("SIGTYPE", "FLAGS8", "ENUMFLAGS8", "UINT8", "INT8"), 1),
    **dict.fromkeys(("FLAGS16", "ENUMFLAGS16", "UINT16", "INT16", "PORT", "SYSCALLID"), 2),
    **dict.fromkeys(("FLAGS32", "ENUMFLAGS32", "UINT32", "INT32", "UID", "GID", "MODE"), 4),
}


def block(kind: int, body: bytes) -> bytes:
    """Return a block."""
    body += bytes(-len(body) % 4)
    length = len(body) + 12
    return struct.pack("<II", kind, length) + body + struct.pack("<I", length)


def section() -> bytes:
    """Return the section header."""
    return block(0x0A0D0D0A, struct.pack("<IHHq", 0x1A2B3C4D, 1, 2, -1))


def machine(hostname: str = "web-1") -> bytes:
    """Return the description of a host."""
    return block(0x201, struct.pack("<IQQ128sQQQQ", 4, 1 << 30, 32768, hostname.encode(), BEGINNING, 0, 0, 0))


def sized(data: bytes) -> bytes:
    """Return bytes after their size."""
    return struct.pack("<H", len(data)) + data


def process(
    pid: int,
    *,
    tid: int = 0,
    parent: int = 1,
    comm: str = "bash",
    args: bytes = b"",
    cwd: str = "/root",
    uid: int = 0,
    cgroups: bytes = b"",
    extra: bytes = b"",
) -> bytes:
    """Return an entry of a process list of version 9; extra: what a newer writer appends."""
    body = struct.pack("<qqqqq", tid or pid, pid, parent, pid, pid)
    body += sized(comm.encode()) + sized(f"/bin/{comm}".encode()) + sized(f"/usr/bin/{comm}".encode())
    body += sized(args) + sized(cwd.encode()) + struct.pack("<QIII", 1024, 0, uid, uid)
    body += bytes(28) + sized(b"HOME=/root\0") + struct.pack("<qq", tid or pid, pid) + sized(cgroups) + sized(b"/")
    body += struct.pack("<QIIB", 0, 34816, 1000, 1) + struct.pack("<QQQ", 0, 7, 7)
    body += struct.pack("<BQQQBBq", 0, 42, 5, 6, 0, 0, pid) + extra
    return struct.pack("<I", len(body) + 4) + body


def processes(*entries: bytes) -> bytes:
    """Return a process list."""
    return block(0x215, b"".join(entries))


def descriptor(number: int, kind: int, rest: bytes, ino: int = 0) -> bytes:
    """Return an entry of a list of descriptors."""
    body = struct.pack("<qQB", number, ino, kind) + rest
    return struct.pack("<I", len(body) + 4) + body


def descriptors(tid: int, *entries: bytes) -> bytes:
    """Return the list of a process's descriptors."""
    return block(0x218, struct.pack("<q", tid) + b"".join(entries))


def users(*accounts: tuple[int, str]) -> bytes:
    """Return a list of users, each with a group of its own name."""
    body = b""
    for uid, name in accounts:
        user = (
            struct.pack("<BII", 0, uid, uid)
            + sized(name.encode())
            + sized(b"/home/" + name.encode())
            + sized(b"/bin/sh")
        )
        group = struct.pack("<BI", 1, uid) + sized(name.encode())
        body += b"".join(struct.pack("<I", len(each) + 4) + each for each in (user, group))
    return block(0x220, body)


def interface(address: str, mask: str, name: str = "eth0") -> bytes:
    """Return a list with one interface."""
    octets = b"".join(bytes(map(int, each.split("."))) for each in (address, mask, mask))
    body = struct.pack("<HH", 1, len(name)) + octets + struct.pack("<Q", 0) + name.encode()
    return block(0x219, struct.pack("<I", len(body)) + body)


def version(name: str, *, is_exit: bool = True) -> EventVersion:
    """Return the current version of an event."""
    return next(
        each for each in EVENTS if each.name == name and each.is_exit is is_exit and not (each.is_old or each.is_unused)
    )


def encoded(kind: str, value: int | str | bytes | None) -> bytes:
    """Encode a parameter; None is a missing one."""
    if value is None or isinstance(value, bytes):
        return value or b""
    if isinstance(value, str):
        return value.encode("utf-8", "surrogateescape") + b"\0"
    width = _WIDTHS.get(kind, 8)
    return struct.pack(SIZES[width], value % (1 << 8 * width))


def numbered_event(
    number: int, tid: int, params: list[bytes], *, at: int = 1, block_type: int = 0x216, cpu: int = 1
) -> bytes:
    """Return the block of an event by its number, in the version of the table."""
    is_large = number < len(EVENTS) and EVENTS[number].is_large
    has_count = block_type in {0x216, 0x221}
    code = "I" if is_large and has_count else "H"
    lengths = struct.pack(f"<{len(params)}{code}", *map(len, params))
    size = (26 if has_count else 22) + len(lengths) + sum(map(len, params))
    head = struct.pack("<HQqIH", cpu, BEGINNING + at, tid, size, number)
    count = struct.pack("<I", len(params)) if has_count else b""
    return block(block_type, head + count + lengths + b"".join(params))


def event(
    name: str,
    tid: int,
    values: Mapping[str, int | str | bytes | None],
    *,
    at: int = 1,
    is_exit: bool = True,
    block_type: int = 0x216,
) -> bytes:
    """Return the block of an event in its current version; parameters that aren't given are missing."""
    found = version(name, is_exit=is_exit)
    params = [encoded(param.type, values.get(param.name)) for param in found.params]
    assert not set(values) - {param.name for param in found.params}
    return numbered_event(found.number, tid, params, at=at, block_type=block_type)


def opened(tid: int, fd: int, path: str, *, at: int = 1, flags: int = 1) -> bytes:
    """Return an openat."""
    values = {"fd": fd, "dirfd": -100, "name": path, "flags": flags, "mode": 0, "dev": 8, "ino": 99}
    return event("openat", tid, values, at=at)


def executed(tid: int, comm: str, args: bytes, *, at: int = 1, parent: int = 10) -> bytes:
    """Return a successful execve."""
    values: dict[str, int | str | bytes | None] = {
        "res": 0,
        "exe": f"/bin/{comm}",
        "args": args,
        "tid": tid,
        "pid": tid,
        "ptid": parent,
        "cwd": "",
        "fdlimit": 1024,
        "comm": comm,
        "cgroups": b"cpu=/\0",
        "env": b"HOME=/root\0",
        "tty": 34816,
        "vpgid": tid,
        "loginuid": 1000,
        "flags": 1,
        "cap_inheritable": 0,
        "cap_permitted": 3,
        "cap_effective": 3,
        "exe_ino": 7,
        "exe_ino_ctime": 1,
        "exe_ino_mtime": 2,
        "uid": 0,
        "trusted_exepath": f"/usr/bin/{comm}",
        "pgid": tid,
        "gid": 0,
        "filename": f"/bin/{comm}",
    }
    return event("execve", tid, values, at=at)


def cloned(child: int, parent: int, comm: str, *, at: int = 1, flags: int = 0) -> tuple[bytes, bytes]:
    """Return both events of a clone: the parent's and the child's."""
    values: dict[str, int | str | bytes | None] = {
        "exe": f"/bin/{comm}",
        "args": b"",
        "cwd": "",
        "fdlimit": 1024,
        "comm": comm,
        "cgroups": b"cpu=/\0",
        "flags": flags,
        "uid": 0,
        "gid": 0,
    }
    up = {**values, "res": child, "tid": parent, "pid": parent, "ptid": 1, "vtid": parent, "vpid": parent}
    down = {**values, "res": 0, "tid": child, "pid": child, "ptid": parent, "vtid": child, "vpid": child}
    return event("clone", parent, up, at=at), event("clone", child, down, at=at)


def capture(*parts: bytes, listed: bytes = b"") -> bytes:
    """Return a capture with a shell of pid 10; listed: instead of the process list."""
    return (
        section() + machine() + (listed or processes(process(1, parent=0, comm="init"), process(10))) + b"".join(parts)
    )


def write(path: Path, *parts: bytes, is_compressed: bool = False) -> Path:
    """Write a capture and return its path."""
    data = capture(*parts)
    path.write_bytes(gzip.compress(data) if is_compressed else data)
    return path
