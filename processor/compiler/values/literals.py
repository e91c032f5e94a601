"""Literals: the value of a rule's text for the type of the field that it is compared with.

Text is decoded with surrogateescape, so that comparing texts compares their bytes.
Source: libsinsp value_parser.cpp and sinsp_filtercheck.cpp; the limits are Falco's.
"""

import re
import socket
from dataclasses import dataclass

from schemas.caching.short_texts import cache_short_texts
from schemas.errors import LannerError

STRING_TYPES = frozenset({"CHARBUF", "FSPATH", "FSRELPATH"})
NUMBER_TYPES = frozenset(
    (
        *("INT8", "INT16", "INT32", "INT64", "UINT8", "UINT16", "UINT32", "UINT64", "DOUBLE", "MODE"),
        *("ERRNO", "FD", "FD32", "PID", "PID32", "UID", "GID", "PORT", "SYSCALLID", "SIGTYPE", "SIGSET"),
        *("RELTIME", "ABSTIME", "DYN", "FLAGS8", "FLAGS16", "FLAGS32", "ENUMFLAGS8", "ENUMFLAGS16", "ENUMFLAGS32"),
    )
)
ADDRESS_TYPES = frozenset({"IPADDR", "IPV4ADDR", "IPV6ADDR"})
NET_TYPES = frozenset({"IPNET", "IPV4NET", "IPV6NET"})

_MAX_BYTES = 255
_WIDTHS = {"8": 8, "16": 16, "32": 32, "64": 64}
_UNSIGNED = frozenset({"UINT8", "UINT16", "UINT32", "UINT64", "FLAGS8", "FLAGS16", "FLAGS32", "PORT", "ABSTIME"})
_NUMBER = re.compile(r"[+-]?[0-9]+|[+-]?0x[0-9a-fA-F]+")
_HEX = re.compile(r"(?:[0-9a-fA-F]{2})+")

Literal = str | int | bool | bytes


class BadLiteral(LannerError, ValueError):
    """Raised for a literal that is not a value of its field's type; the message is for the rule's author."""


@dataclass(frozen=True, slots=True)
class Net:
    """An address range: the family's size in bits, the network's bits, and the mask."""

    bits: int
    network: int
    mask: int

    def holds(self, address: str) -> bool:
        """Return whether an address is in the range; one of the other family never is."""
        number = address_number(address)
        return number is not None and number[0] == self.bits and number[1] & self.mask == self.network


@cache_short_texts(65536)
def address_number(text: str) -> tuple[int, int] | None:
    """Return an address as (bits of its family, number); None if the text is not an address."""
    family = socket.AF_INET if "." in text and ":" not in text else socket.AF_INET6
    try:
        packed = socket.inet_pton(family, text)
    except (OSError, ValueError):
        return None
    return len(packed) * 8, int.from_bytes(packed, "big")


@cache_short_texts(65536)
def canonical_address(text: str) -> str | None:
    """Return an address in the kernel's notation; None if the text is not an address."""
    family = socket.AF_INET if "." in text and ":" not in text else socket.AF_INET6
    try:
        return socket.inet_ntop(family, socket.inet_pton(family, text))
    except (OSError, ValueError):
        return None


def parse_net(text: str) -> Net:
    """Parse ``10.0.0.0/8`` or ``2001:db8::/32``; host bits may be set.

    Raises:
        BadLiteral: the text is not a range; the slash is required.
    """
    address, slash, length = text.partition("/")
    number = address_number(address)
    if not slash or not length.isdigit() or number is None or int(length) > number[0]:
        raise BadLiteral(f"'{text}' is not a network: write it as 10.0.0.0/8 or 2001:db8::/32")
    mask = (1 << number[0]) - (1 << (number[0] - int(length)))
    return Net(number[0], number[1] & mask, mask)


def parse_number(text: str, kind: str) -> int:
    """Parse a decimal or hexadecimal number; a negative one wraps around if the type is unsigned.

    Raises:
        BadLiteral: the text is not an integer.
    """
    if _NUMBER.fullmatch(text) is None:
        raise BadLiteral(f"'{text}' is not an integer, and the field is of type {kind}")
    digits = text.lstrip("+-")
    number = int(digits, 16) if digits[:2] in ("0x", "0X") else int(digits)
    number = -number if text[0] == "-" else number
    if kind in _UNSIGNED:
        width = 16 if kind == "PORT" else _WIDTHS.get(kind[-2:].lstrip("TS"), 64)
        number &= (1 << width) - 1
    return number


def parse_port(text: str) -> int:
    """Parse a port: a number or a service name.

    Raises:
        BadLiteral: there is no such service.
    """
    if _NUMBER.fullmatch(text):
        return parse_number(text, "PORT")
    try:
        return socket.getservbyname(text)
    except (OSError, UnicodeError, ValueError):
        raise BadLiteral(f"'{text}' is neither a port nor a known service") from None


def parse_hex(text: str) -> bytes:
    """Parse the value of bcontains and bstartswith.

    Raises:
        BadLiteral: the text is not an even number of hexadecimal digits.
    """
    if _HEX.fullmatch(text) is None:
        raise BadLiteral("bcontains and bstartswith operator support hex strings only")
    return bytes.fromhex(text)


def parse_literal(text: str, kind: str) -> Literal | Net:
    """Parse a literal for a field of a type.

    Args:
        text: the rule's text, unescaped.
        kind: the field's type in the catalogue.

    Raises:
        BadLiteral: the text is not a value of the type.
    """
    if byte_length(text) > _MAX_BYTES:
        raise BadLiteral(f"the value is longer than {_MAX_BYTES} bytes")
    if kind in STRING_TYPES:
        if "\0" in text:
            raise BadLiteral("a text value must not contain a NUL")
        return text
    if kind == "BYTEBUF":
        return text
    if kind == "BOOL":
        if text not in ("true", "false"):
            raise BadLiteral(f"'{text}' is neither true nor false")
        return text == "true"
    if kind == "PORT":
        return parse_port(text)
    if kind in ADDRESS_TYPES:
        address = canonical_address(text)
        if address is None:
            raise BadLiteral(f"'{text}' is not an IP address")
        return address
    if kind in NET_TYPES:
        return parse_net(text)
    if kind in NUMBER_TYPES:
        return parse_number(text, kind)
    raise BadLiteral(f"a field of type {kind} cannot be compared with a value")


def encoded(text: str) -> bytes:
    """Return the bytes of a text."""
    return text.encode("utf-8", "surrogateescape")


def byte_length(text: str) -> int:
    """Return the number of bytes of a text."""
    return len(text) if text.isascii() else len(encoded(text))


def as_bytes_text(text: str) -> str:
    """Return a text with one character per byte, for operators that work on bytes."""
    return text if text.isascii() else encoded(text).decode("latin-1")


def is_whole(text: str) -> bool:
    """Return whether a text is valid UTF-8; then searching characters is equivalent to searching bytes."""
    return text.isascii() or not any("\udc80" <= letter <= "\udcff" for letter in text)
