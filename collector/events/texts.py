"""Types and names of descriptors, and the two ends of a socket, as rule fields show them.

Type names are Falco's (libsinsp fdinfo.cpp). There is no table of descriptors: each record describes its own.
"""

import stat
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache

from collector.kernel.architecture import common_open_flags
from collector.records.decode import ip_text, unix_text
from collector.records.types import File, Socket, Syscall
from schemas.batch import Process
from schemas.catalog.flags import TYPE_CHARACTERS, encode_flags
from schemas.catalog.flags import number_text as flag_names
from schemas.catalog.system_calls import MESSAGES

_ANONYMOUS: Mapping[str, str] = {
    "[eventfd]": "event",
    "[signalfd]": "signalfd",
    "[eventpoll]": "eventpoll",
    "inotify": "inotify",
    "anon_inode:inotify": "inotify",
    "[timerfd]": "timerfd",
    "bpf-map": "bpf",
    "bpf-prog": "bpf",
    "bpf_link": "bpf",
    "[userfaultfd]": "userfaultfd",
    "[io_uring]": "io_uring",
    "[pidfd]": "pidfd",
}
_PIPEFS, _PIDFS = 0x50495045, 0x50494446
_AF_UNIX, _AF_INET, _AF_INET6, _AF_NETLINK = 1, 2, 10, 16
_PROTOCOLS = {1: "icmp", 6: "tcp", 17: "udp", 58: "icmp", 255: "raw", 262: "tcp"}
"""By number; 262 is Multipath TCP."""
_SOCK_DGRAM, _SOCK_RAW = 2, 3
_PER_MESSAGE = frozenset({_SOCK_DGRAM, _SOCK_RAW})
"""Socket types that may address each message separately, even when connected."""
_ESTABLISHED, _LISTEN = 1, 10


@dataclass(slots=True)
class Descriptor:
    """A descriptor in terms of rule fields; None for what it lacks."""

    number: int
    type: str | None = None
    name: str | None = None
    real_path: str | None = None
    dev: int = 0
    ino: int = 0
    local_ip: str | None = None
    remote_ip: str | None = None
    local_port: int = -1
    remote_port: int = -1
    protocol: str | None = None
    family: str | None = None
    is_server: bool | None = None
    is_connected: bool = False
    is_name_changed: bool = False

    @property
    def label(self) -> str:
        """Format it as in arguments: ``<f>/etc/passwd``."""
        if self.type is None:
            return ""
        return f"<{TYPE_CHARACTERS.get(self.type, 'o')}>{self.name or ''}"


def describe_file(number: int, file: File) -> Descriptor:
    """Describe a descriptor that is not a socket."""
    kind = _file_type(file)
    name = file.path
    if kind == "memfd" and name is not None:
        name = name.removeprefix("memfd:")
    elif kind not in ("file", "directory"):
        name = "" if file.is_pseudo else name
    return Descriptor(
        number,
        type=kind,
        name=name,
        real_path=None if file.is_pseudo else file.path,
        dev=device_number(file.dev),
        ino=file.ino,
    )


def device_number(kernel_number: int) -> int:
    """Convert the kernel's own device number into user space's (include/linux/kdev_t.h, new_encode_dev)."""
    major, minor = kernel_number >> 20, kernel_number & 0xFFFFF
    return (minor & 0xFF) | (major << 8) | ((minor & ~0xFF) << 12)


def _file_type(file: File) -> str:
    if stat.S_ISDIR(file.mode):
        return "directory"
    if stat.S_ISFIFO(file.mode):
        return "pipe"
    if file.magic == _PIDFS:
        return "pidfd"
    if file.is_pseudo and file.path is not None:
        if file.path.startswith("memfd:"):
            return "memfd"
        return _ANONYMOUS.get(file.path, "file")
    return "file"


def socket_address(data: bytes) -> tuple[str, int] | None:
    """Parse address and port from a struct sockaddr; the port is -1 for a unix socket. None for other families."""
    if len(data) < 2:
        return None
    family = int.from_bytes(data[:2], "little")
    if family == _AF_INET and len(data) >= 8:
        return ip_text(family, data[4:8]), int.from_bytes(data[2:4], "big")
    if family == _AF_INET6 and len(data) >= 24:
        return ip_text(family, data[8:24]), int.from_bytes(data[2:4], "big")
    if family == _AF_UNIX:
        return unix_text(data[2:]), -1
    return None


def describe_socket(number: int, sock: Socket, event: str, address: tuple[str, int] | None) -> Descriptor:
    """Describe a socket, as the kernel sees it after the call; accept and connect reveal which side is the server."""
    if sock.family == _AF_UNIX:
        name = sock.unix_path or (address[0] if address else "")
        return Descriptor(
            number, type="unix", name=name, family="unix", is_server=_unix_role(event), is_connected=sock.state == 1
        )
    if sock.family not in (_AF_INET, _AF_INET6):
        return Descriptor(number, type="netlink" if sock.family == _AF_NETLINK else None, name="")
    return _describe_ip(number, sock, event, address)


def _unix_role(event: str) -> bool | None:
    if event.startswith("accept") or event in ("listen", "bind"):
        return True
    return False if event == "connect" else None


def _describe_ip(number: int, sock: Socket, event: str, address: tuple[str, int] | None) -> Descriptor:
    remote_ip, remote_port, changed = sock.remote_ip, sock.remote_port, event == "connect" and bool(address)
    # The kernel knows where it connects to; the address in memory may have been changed since.
    if address and event != "bind" and (not remote_port or (event != "connect" and sock.type in _PER_MESSAGE)):
        remote_ip, remote_port = address
        changed = event == "connect" or event in MESSAGES
    local_ip, local_port = sock.local_ip, sock.local_port
    if event == "bind" and address and not local_port:
        local_ip, local_port = address
    has_remote, has_local = remote_port > 0, local_port > 0
    is_server = _ip_role(event, sock, local_port, remote_port)
    local, remote = f"{local_ip}:{local_port}", f"{remote_ip}:{remote_port}"
    name = local if has_local else ""
    if has_remote:
        name = f"{remote}->{local}" if is_server else f"{local}->{remote}"
    is_v4 = sock.family == _AF_INET or ":" not in (remote_ip if has_remote else local_ip)
    return Descriptor(
        number,
        type="ipv4" if is_v4 else "ipv6",
        name=name,
        local_ip=local_ip if has_local or has_remote else None,
        remote_ip=remote_ip if has_remote else None,
        local_port=local_port if has_local or has_remote else -1,
        remote_port=remote_port if has_remote else -1,
        # As in Falco, a socket without an end has none yet.
        protocol=_protocol(sock) if has_local or has_remote or sock.type == _SOCK_RAW else None,
        family="ip",
        is_server=is_server if has_local or has_remote else None,
        is_connected=sock.state == _ESTABLISHED,
        is_name_changed=changed,
    )


def _protocol(sock: Socket) -> str | None:
    if sock.type == _SOCK_RAW and sock.protocol not in (1, 58):
        return "raw"
    return _PROTOCOLS.get(sock.protocol)


def _ip_role(event: str, sock: Socket, local_port: int, remote_port: int) -> bool:
    """Return whether the local side is the server; by default the side with the lower port, as Falco guesses."""
    if event == "connect":
        return False
    if event.startswith("accept") or event in ("listen", "bind") or sock.state == _LISTEN or not remote_port:
        return True
    return 0 < local_port < remote_port if sock.is_server is None else sock.is_server


def describe(call_event: str, syscall: Syscall) -> Descriptor | None:
    """Describe the descriptor of an event; None if it has none."""
    if syscall.fd is None:
        return None
    if syscall.socket is not None:
        return describe_socket(syscall.fd, syscall.socket, call_event, socket_address(syscall.blob2))
    if syscall.file is not None:
        return describe_file(syscall.fd, syscall.file)
    return Descriptor(syscall.fd)


@dataclass(slots=True)
class Context:
    """Facts that arguments need in addition to the call itself."""

    process: Process
    descriptor: Descriptor | None
    path1: str | None
    """Absolute if the argument is a file's name."""
    path2: str | None
    user_name: Callable[[int], str | None]
    group_name: Callable[[int], str | None]
    time: int
    """The event's, in nanoseconds since the epoch."""


Value = tuple[str | None, int]
"""Text and number."""
Writer = Callable[[Syscall, Context], Value]
MISSING: Value = (None, 0)
ZERO: Value = ("0", 0)
U32, U64 = 0xFFFFFFFF, 0xFFFFFFFFFFFFFFFF


def signed32(value: int) -> int:
    """Interpret a register's lower half as a C int."""
    value &= U32
    return value - (1 << 32) if value & 0x80000000 else value


def signed64(value: int) -> int:
    """Interpret a register as a C long."""
    value &= U64
    return value - (1 << 64) if value & (1 << 63) else value


def decimal(value: int) -> Value:
    """Write a number."""
    return str(value), value


def octal(mode: int) -> Value:
    """Write permissions, with a leading zero."""
    return (f"0{mode:o}" if mode else "0"), mode


def named(table: str, value: int) -> Value:
    """Write a number by the names of its table: one name, or those of its bits."""
    number = encode_flags(table, value)
    return flag_names(table, number) or str(number), number


def open_flags(file: File | None, flags: int) -> Value:
    """Write the flags of an open, with what Falco adds about the opened file."""
    # Most files are neither new nor on an overlay.
    marks = 0
    if file is not None and (file.is_upper_layer or file.is_lower_layer or file.is_created):
        marks = 32768 * file.is_upper_layer | 65536 * file.is_lower_layer | 16384 * file.is_created
    return _marked_flags(flags & U32, marks)


@lru_cache(maxsize=4096)
def _marked_flags(flags: int, marks: int) -> Value:
    number = encode_flags("file_flags", common_open_flags(flags)) | marks
    return flag_names("file_flags", number) or str(number), number


def user(number: int, name: Callable[[int], str | None]) -> Value:
    """Write a user or group by its name."""
    if number == -1:
        return "<NONE>", -1
    return name(number & U32) or "<NA>", number & U32


def joined(parts: tuple[str, ...] | None) -> str | None:
    """Write a list of C strings as Falco does, with a dot for each NUL."""
    return None if parts is None else "".join(f"{part}." for part in parts)


def absolute(directory: str | None, path: str | None) -> str | None:
    """Join and clean a path: no ``//``, ``.`` or ``..`` (libsinsp utils.cpp, concatenate_paths).

    It is unknown, None, if it could not be read, or if it is relative to an unknown directory.
    """
    if path is None:
        return None
    if not path.startswith("/"):
        if directory is None:
            return None
        return _cleaned(f"{directory}/{path}")
    if "//" not in path and "/." not in path and not (path.endswith("/") and path != "/"):
        return path
    return _cleaned(path)


# Few: each may contain two texts of 4 KiB, which whoever names files controls.
@lru_cache(maxsize=1024)
def _cleaned(path: str) -> str:
    parts: list[str] = []
    for part in path.split("/"):
        if part == "..":
            if parts:
                parts.pop()
        elif part and part != ".":
            parts.append(part)
    return "/" + "/".join(parts)
