"""Parses the ClientHello of TLS for the name of the server that the client states: bytes in, a name out.

The bytes come from anyone, and may be cut. Everything is bounded by their number: each record has at least one
byte, and each extension four. A name is written as those of the Domain Name System are, in lower case with other bytes
escaped.

Source: RFC 8446, sections 4, 4.1.2, 4.2 and 5.1; RFC 6066, section 3 (server names). RFC 5246 has the same layout.
"""

import struct
from dataclasses import dataclass

from collector.records.dns import written_name

MAX_BYTES = 2047
"""Bytes of a hello that are read, with the headers of its records; the kernel side's HELLO_BYTES."""
MAX_NAME = 255
"""Bytes of a name."""

_HANDSHAKE, _CLIENT_HELLO = 22, 1
_RECORD, _LENGTH, _EXTENSION, _NAME = (
    struct.Struct(">BBBH"),
    struct.Struct(">H"),
    struct.Struct(">HH"),
    struct.Struct(">BH"),
)
_SERVER_NAME, _HOST_NAME = 0, 0
_HEADER, _VERSION_AND_RANDOM = 4, 34
_LAST_MINOR = 4
_MOST_RECORD = 1 << 14


@dataclass(frozen=True, slots=True)
class ClientHello:
    """What the beginning of a hello states."""

    server_name: str | None
    """None if it has none, or none was found before it is cut."""
    is_cut: bool
    """More of it is needed to know."""


def begins_hello(data: bytes) -> bool:
    """Return whether bytes begin like a record with a ClientHello, as far as they go: as the kernel side does."""
    return (
        data[:1] == b"\x16"
        and data[1:2] in (b"", b"\3")
        and data[2:3] <= bytes([_LAST_MINOR])
        and data[5:6] in (b"", bytes([_CLIENT_HELLO]))
    )


def parse(data: bytes) -> ClientHello:
    """Parse what a client sent first. If there are several names, which the RFC forbids, the first counts.

    Raises:
        ValueError: it is no ClientHello, or a part of it is longer than what contains it.
    """
    message, is_cut = _message(data)
    try:
        return ClientHello(_server_name(message, is_cut=is_cut), is_cut=False)
    except (IndexError, struct.error):
        if not is_cut:
            raise ValueError("a part is longer than the ClientHello") from None
        return ClientHello(None, is_cut=True)


def written(name: str) -> bytes:
    """Return a record with a ClientHello that has a server name; tests of rules send it.

    Raises:
        ValueError: the name can't be written.
    """
    raw = name.encode("ascii")
    if not 0 < len(raw) <= MAX_NAME:
        raise ValueError(f"the name has {len(raw)} characters, not 1 to {MAX_NAME}")
    names = _NAME.pack(_HOST_NAME, len(raw)) + raw
    extension = _EXTENSION.pack(_SERVER_NAME, len(names) + _LENGTH.size) + _LENGTH.pack(len(names)) + names
    # Version and random bytes, no session, one cipher suite, no compression.
    body = b"\3\3" + bytes(32) + b"\0" + b"\0\2\x13\1" + b"\1\0" + _LENGTH.pack(len(extension)) + extension
    message = bytes([_CLIENT_HELLO]) + len(body).to_bytes(3, "big") + body
    return _RECORD.pack(_HANDSHAKE, 3, 1, len(message)) + message


def _message(data: bytes) -> tuple[bytes, bool]:
    """Return the body of a ClientHello, without headers of the records that it is in, and whether it is cut."""
    if not begins_hello(data):
        raise ValueError("not a ClientHello")
    message, at = b"", 0
    while len(message) < _size(message) and at + _RECORD.size <= len(data):
        kind, major, minor, length = _RECORD.unpack_from(data, at)
        if kind != _HANDSHAKE or major != 3 or minor > _LAST_MINOR or not 0 < length <= _MOST_RECORD:
            raise ValueError("not a record of a handshake")
        at += _RECORD.size
        message += data[at : at + length]
        at += length
    return message[_HEADER : _size(message)], len(message) < _size(message)


def _size(message: bytes) -> int:
    """Return the size of a message with its header, of which at least the header is needed to know it."""
    return _HEADER + (int.from_bytes(message[1:_HEADER], "big") if len(message) >= _HEADER else 0)


def _server_name(body: bytes, *, is_cut: bool) -> str | None:
    """Return the name in a hello; None without one. Raises IndexError or struct.error if it ends before."""
    at = _VERSION_AND_RANDOM
    at += 1 + body[at]  # session
    at += _LENGTH.size + _LENGTH.unpack_from(body, at)[0]  # cipher suites
    at += 1 + body[at]  # compression
    if at == len(body) and not is_cut:
        return None
    end = at + _LENGTH.size + _LENGTH.unpack_from(body, at)[0]
    at += _LENGTH.size
    while at < end:
        kind, length = _EXTENSION.unpack_from(body, at)
        at += _EXTENSION.size
        if at + length > end:
            raise ValueError("an extension is longer than all extensions")
        if kind == _SERVER_NAME:
            if at + length > len(body):
                raise IndexError
            return _host_name(body[at : at + length])
        at += length
    return None


def _host_name(data: bytes) -> str:
    """Return the first host name in a list of names."""
    at = _LENGTH.size
    while at < len(data):
        kind, length = _NAME.unpack_from(data, at)
        at += _NAME.size
        if at + length > len(data):
            raise ValueError("a name is longer than the list of names")
        if kind == _HOST_NAME:
            name = data[at : at + length].removesuffix(b".")
            if not 0 < len(name) <= MAX_NAME:
                raise ValueError(f"the name has {len(name)} bytes")
            return written_name(name.split(b"."))
        at += length
    raise ValueError("no host name among the server names")
