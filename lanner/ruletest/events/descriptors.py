"""The keys of an event's descriptor: a file, a directory, an unnamed object, or a socket with two ends."""

import hashlib
import ipaddress
import socket
import stat
import struct
from typing import Any

from collector.records.types import File, Socket
from foundation.yaml import mappings
from foundation.yaml.mappings import BadMapping, Fields, Key, MappingReader, written
from foundation.yaml.nodes import Node
from schemas.catalog.system_calls import ACCEPTS, MESSAGES

Address = tuple[str, int]
"""IP address and port; the path of a unix socket has port -1."""

_PSEUDO = {
    "event": "[eventfd]",
    "signalfd": "[signalfd]",
    "eventpoll": "[eventpoll]",
    "inotify": "anon_inode:inotify",
    "timerfd": "[timerfd]",
    "bpf": "bpf-prog",
    "userfaultfd": "[userfaultfd]",
    "io_uring": "[io_uring]",
    "pidfd": "[pidfd]",
}
_MODES = {"file": stat.S_IFREG | 0o644, "directory": stat.S_IFDIR | 0o755, "pipe": stat.S_IFIFO | 0o600}
_IP = ("ipv4", "ipv6")
SOCKET_TYPES = (*_IP, "unix", "netlink")
_TYPES = (*_MODES, "memfd", *_PSEUDO, *SOCKET_TYPES)
FIRST_FREE = 3
"""The usual number of a descriptor."""
_PROTOCOLS = {"tcp": (1, 6), "udp": (2, 17), "icmp": (3, 1), "raw": (3, 255)}
_LISTENERS = frozenset({"bind", "listen"})
_DEVICE = 8 << 20 | 1
_ESTABLISHED, _CLOSED, _LISTENING = 1, 7, 10
_EPHEMERAL = 40000
_EINPROGRESS = -115


def descriptor_type(table: MappingReader) -> str | None:
    """Return fd.type as stated, or as implied by the other keys. Raises BadMapping."""
    if (stated := table.read(_TYPE, None)) is not None:
        return stated
    for key in ("to", "from", "local", "remote"):
        if key in table and (address := table.value(_address, None, key)) is not None:
            return "unix" if address[1] < 0 else "ipv6" if ":" in address[0] else "ipv4"
    return None


def _address(node: Node, key: str) -> Address:
    """Parse the end of a socket: ip:port, [ip]:port, /path or @name. Raises BadMapping."""
    text = mappings.text(node, key)
    if text[:1] in "/@":
        if len(text.encode("utf-8", "surrogateescape")) > 107:
            raise BadMapping("the path of a unix socket has at most 107 bytes", node)
        return text, -1
    host, colon, port = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    is_port = bool(colon) and port.isascii() and port.isdigit() and len(port) <= 5 and int(port) <= 65535
    try:
        address = str(ipaddress.ip_address(host))
    except ValueError:
        address = ""
    if not is_port or not address:
        hint = "names aren't resolved: use the address"
        raise BadMapping(f"'{text}' is not a valid address: use ip:port, [ip6]:port, /path or @name", node, hint)
    return address, int(port)


def sockaddr(address: Address | None) -> bytes:
    """Return the struct sockaddr that a caller passes."""
    if address is None:
        return b""
    host, port = address
    if port < 0:
        name = host.encode("utf-8", "surrogateescape")
        return struct.pack("<H", socket.AF_UNIX) + (b"\0" + name[1:] if name[:1] == b"@" else name + b"\0")
    packed = ipaddress.ip_address(host).packed
    if len(packed) == 4:
        return struct.pack("<H", socket.AF_INET) + struct.pack(">H", port) + packed + bytes(8)
    return struct.pack("<H", socket.AF_INET6) + struct.pack(">HI", port, 0) + packed + bytes(4)


def read_file(table: MappingReader, kind: str, path: str | None, *, layer: bool) -> File:
    """Return the open file behind a descriptor. Raises BadMapping.

    table: the event, which may name the inode, the kernel's own path and so on. kind: fd.type. path: absolute; also the
    kernel's path unless the test states one. layer: whether the event is in a container, whose files are on an overlay.
    """
    real = table.value(mappings.text, path, "fd.realpath")
    upper = table.value(mappings.truth, False, "fd.is_upper_layer")
    is_below = layer and not upper and kind in ("file", "directory")
    lower = table.value(mappings.truth, is_below, "fd.is_lower_layer")
    if kind in _PSEUDO:
        real = _PSEUDO[kind]
    elif kind == "memfd":
        real = f"memfd:{(path or '').rpartition('/')[2]}"
    number = int(hashlib.sha256((real or "").encode("utf-8", "surrogateescape")).hexdigest()[:6], 16) + 2
    return File(
        mode=_MODES.get(kind, 0o600),
        dev=_DEVICE,
        ino=table.value(mappings.small(2**63 - 1), 0, "fd.ino") or number,
        magic=0xEF53,
        path=real,
        is_pseudo=kind in _PSEUDO or kind == "memfd" or (kind == "pipe" and path is None),
        is_created=table.value(mappings.truth, False, "created"),
        is_upper_layer=upper,
        is_lower_layer=lower,
    )


def read_socket(table: MappingReader, event: str, kind: str, result: int) -> tuple[Socket, bytes]:
    """Return the socket behind a descriptor, and the address that the call passes. Raises BadMapping.

    table: the event: to and from (the remote end), local, fd.l4proto. event: its type. kind: fd.type. result: of the
    call; a failed connection has no remote end in the kernel.
    """
    remote = table.read(_REMOTE, None)
    local = table.read(_LOCAL, None)
    if kind == "netlink":
        return Socket(socket.AF_NETLINK, 3, 0, _CLOSED, "", "", 0, 0, ""), b""
    if kind == "unix":
        path = (local if event in _LISTENERS else remote or local or ("", -1)) or ("", -1)
        state = _ESTABLISHED if remote is not None and result >= 0 else _CLOSED
        passed = path if event in ("connect", "bind", *MESSAGES) else None
        return Socket(socket.AF_UNIX, 1, 0, state, "", "", 0, 0, path[0]), sockaddr(passed)
    return _ip_socket(table, event, kind, result, local=local, remote=remote)


def _ip_socket(
    table: MappingReader, event: str, kind: str, result: int, *, local: Address | None, remote: Address | None
) -> tuple[Socket, bytes]:
    is_v6 = kind == "ipv6"
    nowhere: Address = ("::" if is_v6 else "0.0.0.0", 0)  # noqa: S104  an unbound socket's address, not one to bind
    type_, protocol = _PROTOCOLS[table.read(_PROTOCOL, "udp" if event in MESSAGES and remote is not None else "tcp")]
    passed = b""
    state = _CLOSED
    far = remote or nowhere
    if event in ("connect", *MESSAGES):
        passed = sockaddr(remote)
    if event in _LISTENERS:
        passed = sockaddr(local) if event == "bind" else b""
        state = _LISTENING if event == "listen" else _CLOSED
    elif event == "connect" and result < 0 and result != _EINPROGRESS:
        far = nowhere
    elif remote is not None and (event not in MESSAGES or protocol == _PROTOCOLS["tcp"][1]):
        local = local or _near(remote, accepts=event in ACCEPTS)
        state = _ESTABLISHED
    elif event in MESSAGES:
        local, far = local or (nowhere[0], _EPHEMERAL), nowhere
    near = local or nowhere
    family = socket.AF_INET6 if is_v6 else socket.AF_INET
    return Socket(family, type_, protocol, state, near[0], far[0], near[1], far[1], ""), passed


def _near(remote: Address, *, accepts: bool) -> Address:
    """Return a local address that could reach the remote one."""
    host = ipaddress.ip_address(remote[0])
    own = str(host) if host.is_loopback else "2001:db8::2" if host.version == 6 else "10.0.0.2"
    return own, 8080 if accepts else _EPHEMERAL


def write_descriptor(fields: Fields, *, is_opened: bool) -> dict[str, Any]:
    """Return what states an event's descriptor; is_opened: whether the event opened that file."""
    kind, name, number = fields.get("fd.type"), str(fields.get("fd.name", "")), fields.get("fd.num")
    fields = {**fields, "fd.num": number if isinstance(number, int) and number >= 0 else None}
    if kind in _IP:
        remote, local = _end(fields, "fd.rip", "fd.rport"), _end(fields, "fd.lip", "fd.lport")
        if not remote and not local:
            first, _, second = name.partition("->")
            remote, local = (second, first) if second else (first, "")
        return written((FD_NUM, _REMOTE, _LOCAL, _PROTOCOL), {**fields, "remote": remote, "local": local})
    if kind == "unix":
        end = "local" if fields["evt.type"] == "bind" else "remote"
        return written((FD_NUM, _REMOTE, _LOCAL), {**fields, "remote": "", "local": "", end: name})
    return written((FD_NUM,) if is_opened or "fd.name" not in fields else (FD_NUM, FD_NAME, _TYPE), fields)


def _end(fields: Fields, address: str, port: str) -> str:
    host = str(fields.get(address, ""))
    return (f"[{host}]" if ":" in host else host) + f":{fields[port]}" if host and port in fields else ""


FD_NUM = Key("fd.num", mappings.small(), "fd.num", usual=FIRST_FREE)
FD_NAME = Key("fd.name", mappings.text, "fd.name", usual="")
_REMOTE = Key("remote", _address, "remote", usual="", names=("to", "from", "remote"))
_LOCAL = Key("local", _address, "local", usual="", names=("local", "addr"))
_PROTOCOL = Key("fd.l4proto", mappings.one_of("protocol", _PROTOCOLS), "fd.l4proto", usual="tcp")
_TYPE = Key("fd.type", mappings.one_of("descriptor type", _TYPES, guesses=True), "fd.type", usual="file")
