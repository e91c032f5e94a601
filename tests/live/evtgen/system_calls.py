"""How a case's system call becomes words of the actor: the order of arguments, and what their text means.

Cases name arguments as Falco's event generator does, in any case; one that is left out has the value given here.
"""

import ipaddress
import os
import re
import signal
import socket
import struct
from collections.abc import Callable, Mapping
from typing import Any

Slot = Callable[[str], int]

_NAMES = {
    "AT_FDCWD": -100,
    "AT_SYMLINK_NOFOLLOW": 0x100,
    "AT_REMOVEDIR": 0x200,
    "AT_EMPTY_PATH": 0x1000,
    "AF_PACKET": 17,
    "PTRACE_ATTACH": 16,
    "PTRACE_SEIZE": 0x4206,
    "PTRACE_POKETEXT": 4,
    "PTRACE_POKEDATA": 5,
    "PTRACE_SETREGS": 13,
}
"""Those that Python's own modules don't have."""

_REFERENCE = re.compile(r"\$\{\s*([\w.-]+?)(?:\.(?:fd|ret|pid))?\s*\}")

_SIGNATURES = {
    "open": "pathname:s flags:i mode:i=0",
    "creat": "pathname:s mode:i=0",
    "openat": "dirfd:i=AT_FDCWD pathname:s flags:i mode:i=0",
    "openat2": "dirfd:i=AT_FDCWD pathname:s how:h size:i=24",
    "link": "oldpath:s newpath:s",
    "linkat": "olddirfd:i=AT_FDCWD oldpath:s newdirfd:i=AT_FDCWD newpath:s flags:i=0",
    "symlink": "target:s linkpath:s",
    "symlinkat": "target:s newdirfd:i=AT_FDCWD linkpath:s",
    "unlink": "pathname:s",
    "unlinkat": "dirfd:i=AT_FDCWD pathname:s flags:i=0",
    "rename": "oldpath:s newpath:s",
    "renameat": "olddirfd:i=AT_FDCWD oldpath:s newdirfd:i=AT_FDCWD newpath:s",
    "renameat2": "olddirfd:i=AT_FDCWD oldpath:s newdirfd:i=AT_FDCWD newpath:s flags:i=0",
    "mkdir": "pathname:s mode:i=0755",
    "mkdirat": "dirfd:i=AT_FDCWD pathname:s mode:i=0755",
    "rmdir": "pathname:s",
    "chmod": "pathname:s mode:i",
    "fchmod": "fd:i mode:i",
    "fchmodat": "dirfd:i=AT_FDCWD pathname:s mode:i",
    "dup": "oldfd:i",
    "dup2": "oldfd:i newfd:i",
    "dup3": "oldfd:i newfd:i flags:i=0",
    "close": "fd:i",
    "read": "fd:i buf:z=4096 len:i=4096",
    "write": "fd:i buf:s len:i",
    "socket": "domain:i type:i protocol:i=0",
    "bind": "fd:i address:a addrlen:l",
    "connect": "fd:i address:a addrlen:l",
    "listen": "fd:i backlog:i=4",
    "accept4": "fd:i peer:i=0 peerlen:i=0 flags:i=0",
    "setsockopt": "fd:i level:i optname:i optval:b optlen:i",
    "sendto": "fd:i buf:b len:i flags:i=0 address:a=none addrlen:l=0",
    "recvfrom": "fd:i buf:z=4096 len:i=4096 flags:i=0 peer:i=0 peerlen:i=0",
    "ptrace": "request:i pid:i address:i=0 data:i=0",
    "kill": "pid:i sig:i",
    "setns": "fd:i nstype:i=0",
    "unshare": "flags:i=0",
    "userfaultfd": "flags:i=0",
    "init_module": "image:s len:i=0 paramvalues:s=",
    "finit_module": "fd:i paramvalues:s= flags:i=0",
    "memfd_create": "name:s flags:i=0",
}


_ALIASES = {
    "req": "request",
    "buffer": "buf",
    "moduleimage": "image",
    "addr": "address",
    "destaddr": "address",
    "signal": "sig",
}


class Unplayable(Exception):
    """The runner can't carry this out; the text names what it doesn't support."""


def call_words(name: str, arguments: Mapping[str, Any], slot: Slot, into: str) -> tuple[str, ...]:
    """Return the actor's words for a call.

    Args:
        name: of the system call.
        arguments: by name, as the case has them.
        slot: gives the slot of a resource or step that is named.
        into: the step whose result it is.

    Raises: Unplayable.
    """
    signature = _SIGNATURES.get(name)
    if signature is None:
        raise Unplayable(f"no signature of {name}")
    given = {_ALIASES.get(key.lower(), key.lower()): value for key, value in arguments.items()}
    words = ["call", str(slot(into)), name]
    for parameter in signature.split():
        declared, _, default = parameter.partition("=")
        key, kind = declared.split(":")
        if kind == "l":
            words.append(f"i:{len(sockaddr(given['address'])) if 'address' in given else default}")
        elif key in given:
            words.append(_word(kind, given[key] if kind == "a" else given.pop(key), slot))
        elif "=" in parameter:
            words.append("i:0" if default == "none" else _word(kind, default, slot))
        else:
            raise Unplayable(f"{name} without {key}")
    left = set(given) - ({"address"} if "addrlen:l" in signature else set())
    if left:
        raise Unplayable(f"{name} with {', '.join(sorted(left))}")
    return tuple(words)


def _word(kind: str, value: Any, slot: Slot) -> str:
    if isinstance(value, str) and (reference := _REFERENCE.fullmatch(value)):
        return f"v:{slot(reference[1])}"
    match kind:
        case "s":
            return f"s:{value}"
        case "z":
            return f"z:{value}"
        case "b":
            return "b:" + (value if isinstance(value, bytes) else str(value).encode()).hex()
        case "a":
            return "b:" + sockaddr(value).hex()
        case "h":
            how = {key.lower(): number(part) for key, part in value.items()}
            return "b:" + struct.pack("<QQQ", *(how.get(key, 0) for key in ("flags", "mode", "resolve"))).hex()
    return f"i:{number(value)}"


def number(value: Any) -> int:
    """Read a number: itself, its digits, or names joined by |; raises Unplayable."""
    if isinstance(value, int):
        return int(value)
    total = 0
    for part in str(value).split("|"):
        total |= _named(part.strip())
    return total


def _named(name: str) -> int:
    if re.fullmatch(r"0[0-7]+", name):
        return int(name, 8)
    if re.fullmatch(r"-?\d+|0x[0-9a-fA-F]+", name):
        return int(name, 0)
    for source in (_NAMES, vars(os), vars(socket), vars(signal)):
        if isinstance(source.get(name), int):
            return int(source[name])
    raise Unplayable(f"no number called {name}")


def host_and_port(address: str) -> tuple[ipaddress.IPv4Address | ipaddress.IPv6Address, int]:
    """Split ``1.2.3.4:80`` or ``[::1]:80``."""
    host, _, port = address.rpartition(":")
    return ipaddress.ip_address(host.strip("[]")), int(port)


def sockaddr(address: str) -> bytes:
    """Return an address as the kernel takes it; one that begins with / or @ is a Unix socket's.

    Source: uapi/linux/in.h, in6.h, un.h.
    """
    if address.startswith(("/", "@")):
        return struct.pack("=H", socket.AF_UNIX) + address.replace("@", "\0", 1).encode() + b"\0"
    host, port = host_and_port(address)
    if host.version == 4:
        return struct.pack("=H", socket.AF_INET) + struct.pack("!H", port) + host.packed + bytes(8)
    return struct.pack("=H", socket.AF_INET6) + struct.pack("!HI", port, 0) + host.packed + bytes(4)
