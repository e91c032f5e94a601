"""Blocks and lists of a capture, encoded. The layouts are those that lanner.captures.lists reads."""

import contextlib
import struct
from collections.abc import Iterable, Sequence
from ipaddress import ip_address

from lanner.captures.table import EventVersion
from schemas.batch import Process
from schemas.encoding.columns.texts import encode_text

_SECTION, _MACHINE, _PROCESSES, _DESCRIPTORS, _INTERFACES, _USERS = 0x0A0D0D0A, 0x201, 0x215, 0x218, 0x219, 0x220
_EVENT, _LARGE_EVENT = 0x216, 0x221
_MAGIC, _MAJOR, _MINOR, _LENGTH_UNKNOWN = 0x1A2B3C4D, 1, 2, -1
_MAX_TEXT = 0xFFFF
_NOBODY = 0xFFFFFFFF
_U32, _U64 = 0xFFFFFFFF, (1 << 64) - 1
_OF_IPV4, _OF_IPV6, _IPV4_BYTES = 1, 2, 4
_ANY = b"any"
_OF_THREADS = 1 << 0 | 1 << 1 | 1 << 11 | 1 << 13 | 1 << 15
"""Flags of threads, in Falco's numbers: they share descriptors, directory, signal handlers, process and memory."""


def block(kind: int, body: bytes) -> bytes:
    """Return a block."""
    body += bytes(-len(body) % 4)
    length = len(body) + 12
    return struct.pack("<II", kind, length) + body + struct.pack("<I", length)


def section(hostname: str) -> bytes:
    """Return the section header and the description of the host, of which a recording holds only the name."""
    head = block(_SECTION, struct.pack("<IHHq", _MAGIC, _MAJOR, _MINOR, _LENGTH_UNKNOWN))
    return head + block(_MACHINE, struct.pack("<IQQ128sQQQQ", 0, 0, 0, encode_text(hostname)[:127], 0, 0, 0, 0))


def sized(data: bytes) -> bytes:
    """Return bytes after their 16-bit size; at most 64 KiB of them."""
    return struct.pack("<H", min(len(data), _MAX_TEXT)) + data[:_MAX_TEXT]


def text(value: str | None) -> bytes:
    """Return a text after its size."""
    return sized(encode_text(value or ""))


def texts(values: Sequence[str] | None) -> bytes:
    """Return texts, each with a NUL at its end."""
    return b"".join(encode_text(value) + b"\0" for value in values or ())


def cgroups(cgroup: str | None) -> bytes:
    """Return the cgroups of a process, each with a hierarchy: a recording names only one of them."""
    if not cgroup:
        return b""
    return texts(cgroup.split(" ") if "=" in cgroup.partition(" ")[0] else [f"cpu={cgroup}"])


def _entry(body: bytes) -> bytes:
    return struct.pack("<I", len(body) + 4) + body


def processes(entries: Iterable[bytes]) -> bytes:
    """Return the process list."""
    return block(_PROCESSES, b"".join(entries))


def process(one: Process, tid: int, vtid: int, parent: int) -> bytes:
    """Return the entry of a thread in a process list.

    Args:
        one: its process.
        tid: its id.
        vtid: its id in its namespace.
        parent: the id of the parent process, 0 if it is unknown.
    """
    body = struct.pack("<5q", tid, one.pid, parent, _or(one.sid, -1), _or(one.vpgid, -1))
    body += text(one.name) + text(one.exe) + text(one.exepath) + sized(texts(one.args)) + text(one.cwd)
    flags = 0 if tid == one.pid else _OF_THREADS
    body += struct.pack("<QIII", 0, flags, _id(one.uid), _id(one.gid)) + bytes(28)
    body += sized(texts(one.env)) + struct.pack("<qq", vtid, _or(one.vpid, one.pid))
    body += sized(cgroups(one.cgroup)) + text("/")
    body += struct.pack("<QII", _or(one.pidns_init_start_time, 0) & _U64, _or(one.tty, 0) & _U32, _id(one.loginuid))
    body += struct.pack("<B", bool(one.is_exe_writable))
    body += struct.pack("<QQQ", *(_or(each, 0) & _U64 for each in _capabilities(one)))
    body += struct.pack("<B", bool(one.is_exe_upper_layer))
    body += struct.pack("<QQQ", *(_or(each, 0) & _U64 for each in (one.exe_ino, one.exe_ino_ctime, one.exe_ino_mtime)))
    body += struct.pack("<BBq", bool(one.is_exe_from_memfd), bool(one.is_exe_lower_layer), _or(one.pgid, -1))
    return _entry(body)


def _capabilities(one: Process) -> tuple[int | None, int | None, int | None]:
    return one.cap_inheritable, one.cap_permitted, one.cap_effective


def _or(value: int | None, default: int) -> int:
    return default if value is None else value


def _id(number: int | None) -> int:
    return _NOBODY if number is None else number & _U32


def descriptors(pid: int, entries: Iterable[bytes]) -> bytes:
    """Return the list of a process's descriptors."""
    return block(_DESCRIPTORS, struct.pack("<q", pid) + b"".join(entries))


def descriptor(number: int, kind: int, ino: int, rest: bytes) -> bytes:
    """Return the entry of a descriptor; rest: what its type adds."""
    return _entry(struct.pack("<qQB", number, ino & _U64, kind) + rest)


def packed_ip(address: str | None, width: int) -> bytes:
    """Return an address of some bytes, the unspecified one if it is unknown or of another family."""
    with contextlib.suppress(ValueError):
        packed = ip_address(address or "").packed
        return packed if len(packed) == width else bytes(width)
    return bytes(width)


def user(uid: int, gid: int, name: str, home: str, shell: str) -> bytes:
    """Return the entry of a user."""
    return _entry(struct.pack("<BII", 0, uid & _U32, gid & _U32) + text(name) + text(home) + text(shell))


def group(gid: int, name: str) -> bytes:
    """Return the entry of a group."""
    return _entry(struct.pack("<BI", 1, gid & _U32) + text(name))


def users(entries: Iterable[bytes]) -> bytes:
    """Return the list of users and groups."""
    return block(_USERS, b"".join(entries))


def interfaces(addresses: Iterable[str]) -> bytes:
    """Return the list of interfaces: of those that addresses belong to, the recording holds nothing else."""
    return block(_INTERFACES, b"".join(map(_interface, addresses)))


def _interface(address: str) -> bytes:
    packed = ip_address(address).packed
    kind = _OF_IPV4 if len(packed) == _IPV4_BYTES else _OF_IPV6
    # The mask of a single address, which is its own broadcast address.
    body = struct.pack("<HH", kind, len(_ANY)) + packed + b"\xff" * len(packed) + packed + bytes(8) + _ANY
    return struct.pack("<I", len(body)) + body


def event(version: EventVersion, time: int, tid: int, cpu: int, params: Sequence[bytes]) -> bytes:
    """Return the block of an event."""
    code, most = ("I", (1 << 24)) if version.is_large else ("H", _MAX_TEXT)
    params = [each[:most] for each in params]
    sizes = struct.pack(f"<{len(params)}{code}", *map(len, params))
    size = 26 + len(sizes) + sum(map(len, params))
    head = struct.pack("<HQqIHI", cpu & 0x7FFF, time, tid, size, version.number, len(params))
    return block(_LARGE_EVENT if version.is_large else _EVENT, head + sizes + b"".join(params))
