"""Blocks of a capture, encoded from a recording: the lists of the host's state, and the parameters of events."""

import re
import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address
from operator import attrgetter

from collector.events.texts import absolute, joined
from foundation.text import printed
from lanner.captures.format.events import SIZES, EventVersion, default_bytes
from lanner.captures.state.accounts import UNKNOWN_NAME
from lanner.captures.state.parameters import AT_FDCWD
from schemas.batch import EventBatch, Process
from schemas.catalog.fields import ParamSpec
from schemas.catalog.system_calls import CLONES, EXECS
from schemas.encoding.limits import encode_text

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
    """Return the section header and the description of the host, of which a recording has only the name."""
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
    """Return the entry of a thread of a process in a process list. parent: 0 if it is unknown."""
    body = struct.pack("<5q", tid, one.pid, parent, _or(one.sid, -1), _or(one.vpgid, -1))
    body += text(one.name) + text(one.exe) + text(one.exepath) + sized(texts(one.args)) + text(one.cwd)
    flags = 0 if tid == one.pid else _OF_THREADS
    body += struct.pack("<QIII", 0, flags, _id(one.uid), _id(one.gid)) + bytes(28)
    body += sized(texts(one.env)) + struct.pack("<qq", vtid, _or(one.vpid, one.pid))
    body += sized(cgroups(one.cgroup)) + text("/")
    body += struct.pack("<QII", _or(one.pidns_init_start_time, 0) & _U64, _or(one.tty, 0) & _U32, _id(one.loginuid))
    body += struct.pack("<B", bool(one.is_exe_writable))
    capabilities = (one.cap_inheritable, one.cap_permitted, one.cap_effective)
    body += struct.pack("<QQQ", *(_or(each, 0) & _U64 for each in capabilities))
    body += struct.pack("<B", bool(one.is_exe_upper_layer))
    body += struct.pack("<QQQ", *(_or(each, 0) & _U64 for each in (one.exe_ino, one.exe_ino_ctime, one.exe_ino_mtime)))
    body += struct.pack("<BBq", bool(one.is_exe_from_memfd), bool(one.is_exe_lower_layer), _or(one.pgid, -1))
    return _entry(body)


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
    ip = _packed(address or "")
    return bytes(width) if ip is None or len(ip.packed) != width else ip.packed


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
    """Return the list of interfaces: of those that addresses belong to, the recording has nothing else."""
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


_UNIX, _INET, _INET6 = b"\1", b"\2", b"\n"
_ENDS = re.compile(r"(.+):(\d+)->(.+):(\d+)")
_END = re.compile(r"(.+):(\d+)")
_UNIX_ENDS = re.compile(r"([0-9a-f]{1,16})->([0-9a-f]{1,16}) (.*)", re.DOTALL)
_PATHS = frozenset({"FSPATH", "FSRELPATH"})
_FIRST_OF_DYNAMIC = b"\0"
_TEXT_OF_DYNAMIC = {"keyctl_dynamic_param": (b"\1", b"\0"), "sockopt_dynamic_param": (b"\0", b"")}
"""The tag of a text, and what ends it."""
_NUMBER_OF_DYNAMIC = {"sockopt_dynamic_param": b"\3"}
_NEED_NUMBERS = frozenset({*CLONES, *EXECS, "procexit"})
_NUL_SEPARATED = frozenset({"args", "cgroups", "env"})
_TEXTS_OF_PROCESS = {"args": attrgetter("args"), "env": attrgetter("env")}


@dataclass(frozen=True, slots=True)
class RecordedEvent:
    """One event of a batch."""

    batch: EventBatch
    index: int

    def number(self, column: str) -> int:
        """Return a number of a column."""
        return self.batch.columns[column][self.index]

    def text(self, column: str) -> str | None:
        """Return the text that a column refers to."""
        return self.batch.strings[self.batch.columns[column][self.index]]

    @property
    def process(self) -> Process:
        """The process that made it."""
        return self.batch.processes[self.batch.columns["process"][self.index]]

    def arguments(self) -> dict[str, tuple[str | None, int]]:
        """Return the text and the number of each argument."""
        columns, strings = self.batch.columns, self.batch.strings
        span = range(columns["arg_start"][self.index], columns["arg_start"][self.index + 1])
        names, texts, numbers = (columns[name] for name in ("arg_name", "arg_value", "arg_raw"))
        return {strings[names[at]] or "": (strings[texts[at]], numbers[at]) for at in span}


def encode(event: RecordedEvent, version: EventVersion, cwd: str | None) -> list[bytes]:
    """Return the parameters of an event in a version. cwd: the directory that a reader knows of its process."""
    arguments = event.arguments()
    found = [_encoded(event, version, param, arguments, cwd) for param in version.params]
    if version.name in _NEED_NUMBERS:
        # Falco's library refuses such an event if a number is missing.
        found = [each or default_bytes(param.type) for each, param in zip(found, version.params, strict=True)]
    return found


def _encoded(
    event: RecordedEvent,
    version: EventVersion,
    param: ParamSpec,
    arguments: dict[str, tuple[str | None, int]],
    cwd: str | None,
) -> bytes:
    shown, number = arguments.get(param.name, (None, 0))
    if shown == UNKNOWN_NAME and param.type in {"CHARBUF", *_PATHS}:
        return b""
    size = SIZES.get(param.type)
    if param.type in _PATHS and shown is not None:
        start = arguments.get("dirfd", ("", AT_FDCWD))[1] if "dirfd" in version.indices else AT_FDCWD
        path = _path(event, shown, cwd if start == AT_FDCWD else None, is_open=version.creates_fd)
        return encode_text(path) + b"\0"
    if param.type == "BYTEBUF" and param.name == "cgroups" and event.process.cgroup:
        return cgroups(event.process.cgroup)
    if param.type == "BYTEBUF" and param.name in _NUL_SEPARATED:
        return _list(_TEXTS_OF_PROCESS[param.name](event.process) if param.name in _TEXTS_OF_PROCESS else None, shown)
    if param.type == "SOCKTUPLE":
        return _tuple(event, shown)
    if shown is None:
        return b""
    if size is not None:
        return (number % (1 << 8 * size)).to_bytes(size, "little")
    if param.type == "BYTEBUF":
        return encode_text((event.text("buffer") if param.name == "data" else None) or shown)
    if param.type == "SOCKADDR":
        return address(shown)
    if param.type == "DYN":
        return _dynamic(param, shown, number)
    return encode_text(shown) + b"\0" if param.type == "CHARBUF" else b""


def _list(own: tuple[str, ...] | None, shown: str | None) -> bytes:
    """Return texts with a NUL after each; own: those of the process, which may be those that the event shows."""
    found = texts(own)
    if shown in {None, "NULL"} or shown in {joined(own), printed(found)}:
        return found
    # The event is about another process, of which only the text is known, with a dot for each NUL.
    return encode_text((shown or "").replace(".", "\0"))


def _path(event: RecordedEvent, shown: str, cwd: str | None, *, is_open: bool) -> str:
    """Return a path as it was passed, if readers can complete it; otherwise the complete one."""
    for role in ("fd_name", "path_name", "path_source", "path_target"):
        whole, raw = event.text(role), event.text(f"{role}_raw")
        if raw is not None and (shown in {whole, raw} or is_open):
            return raw if raw.startswith("/") or absolute(cwd, raw) == whole else whole or raw
    return shown


def _tuple(event: RecordedEvent, shown: str | None) -> bytes:
    """Return both ends of a socket: first the client's."""
    ends = _ENDS.fullmatch(shown or "")
    if ends is not None:
        return _both((ends[1], int(ends[2])), (ends[3], int(ends[4]))) or b""
    if shown is None or shown == "NULL" or event.text("fd_type") != "unix":
        return b""
    names = _UNIX_ENDS.fullmatch(shown)
    source, target, path = (int(names[1], 16), int(names[2], 16), names[3]) if names else (0, 0, shown)
    return _UNIX + struct.pack("<QQ", source, target) + encode_text(path) + b"\0"


def _both(source: tuple[str, int], target: tuple[str, int]) -> bytes | None:
    first, second = _packed(source[0]), _packed(target[0])
    if first is None or second is None:
        return None
    family = _INET6 if IPv6Address in {type(first), type(second)} else _INET
    ends = ((first, source[1]), (second, target[1]))
    return family + b"".join(_bytes(ip, family) + struct.pack("<H", port % 65536) for ip, port in ends)


def _bytes(ip: IPv4Address | IPv6Address, family: bytes) -> bytes:
    return bytes(10) + b"\xff\xff" + ip.packed if family == _INET6 and isinstance(ip, IPv4Address) else ip.packed


def _packed(text: str) -> IPv4Address | IPv6Address | None:
    try:
        return ip_address(text)
    except ValueError:
        return None


def address(shown: str) -> bytes:
    """Return the address of a socket: an internet address and port, or a path."""
    end = _END.fullmatch(shown)
    ip = None if end is None else _packed(end[1])
    if end is None or ip is None:
        return _UNIX + encode_text(shown) + b"\0"
    return (_INET if isinstance(ip, IPv4Address) else _INET6) + ip.packed + struct.pack("<H", int(end[2]) % 65536)


def _dynamic(param: ParamSpec, shown: str, number: int) -> bytes:
    if param.info in _TEXT_OF_DYNAMIC and not number and not shown.lstrip("-").isdigit():
        tag, end = _TEXT_OF_DYNAMIC[param.info]
        return b"" if shown == "NULL" else tag + encode_text(shown) + end
    return _NUMBER_OF_DYNAMIC.get(param.info, _FIRST_OF_DYNAMIC) + (number % (1 << 64)).to_bytes(8, "little")
