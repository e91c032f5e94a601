"""Literals: what a rule's text means for the type of the field that it meets.

Text stays text decoded with surrogateescape, so comparison by value is comparison by bytes.
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
    """A literal that its field's type cannot have; the message is for the rule's author."""


@dataclass(frozen=True, slots=True)
class Net:
    """An address range: the family's size in bits, the network's bits, and the mask."""

    bits: int
    network: int
    mask: int

    def holds(self, address: str) -> bool:
        """Tell whether an address lies in it; one of the other family never does."""
        number = address_number(address)
        return number is not None and number[0] == self.bits and number[1] & self.mask == self.network


@cache_short_texts(65536)
def address_number(text: str) -> tuple[int, int] | None:
    """Give an address as (bits of its family, number); None where the text is no address."""
    family = socket.AF_INET if "." in text and ":" not in text else socket.AF_INET6
    try:
        packed = socket.inet_pton(family, text)
    except (OSError, ValueError):
        return None
    return len(packed) * 8, int.from_bytes(packed, "big")


@cache_short_texts(65536)
def canonical_address(text: str) -> str | None:
    """Give an address as the kernel's own printing has it; None where the text is no address."""
    family = socket.AF_INET if "." in text and ":" not in text else socket.AF_INET6
    try:
        return socket.inet_ntop(family, socket.inet_pton(family, text))
    except (OSError, ValueError):
        return None


def parse_net(text: str) -> Net:
    """Read ``10.0.0.0/8`` or ``2001:db8::/32``; host bits may be set.

    Raises:
        BadLiteral: it is no range; the slash is needed.
    """
    address, slash, length = text.partition("/")
    number = address_number(address)
    if not slash or not length.isdigit() or number is None or int(length) > number[0]:
        raise BadLiteral(f"'{text}' is no network: write it as 10.0.0.0/8 or 2001:db8::/32")
    mask = (1 << number[0]) - (1 << (number[0] - int(length)))
    return Net(number[0], number[1] & mask, mask)


def parse_number(text: str, kind: str) -> int:
    """Read a decimal or hexadecimal number; a negative one wraps around where the type has no sign.

    Raises:
        BadLiteral: it is no whole number.
    """
    if _NUMBER.fullmatch(text) is None:
        raise BadLiteral(f"'{text}' is no whole number, and the field is of type {kind}")
    digits = text.lstrip("+-")
    number = int(digits, 16) if digits[:2] in ("0x", "0X") else int(digits)
    number = -number if text[0] == "-" else number
    if kind in _UNSIGNED:
        width = 16 if kind == "PORT" else _WIDTHS.get(kind[-2:].lstrip("TS"), 64)
        number &= (1 << width) - 1
    return number


def parse_port(text: str) -> int:
    """Read a port: a number or a service's name.

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
    """Read the value of bcontains and bstartswith.

    Raises:
        BadLiteral: it is not an even number of hexadecimal digits.
    """
    if _HEX.fullmatch(text) is None:
        raise BadLiteral("bcontains and bstartswith operator support hex strings only")
    return bytes.fromhex(text)


def parse_literal(text: str, kind: str) -> Literal | Net:
    """Read a literal for a field of a type.

    Args:
        text: as the rule has it, unescaped.
        kind: the field's type in the catalogue.

    Raises:
        BadLiteral: the type cannot have this value.
    """
    if byte_length(text) > _MAX_BYTES:
        raise BadLiteral(f"the value is longer than {_MAX_BYTES} bytes")
    if kind in STRING_TYPES:
        if "\0" in text:
            raise BadLiteral("a text value must not hold a NUL")
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
            raise BadLiteral(f"'{text}' is no IP address")
        return address
    if kind in NET_TYPES:
        return parse_net(text)
    if kind in NUMBER_TYPES:
        return parse_number(text, kind)
    raise BadLiteral(f"no value can be compared with a field of type {kind}")


def encoded(text: str) -> bytes:
    """Give the bytes behind a text."""
    return text.encode("utf-8", "surrogateescape")


def byte_length(text: str) -> int:
    """Count the bytes of a text."""
    return len(text) if text.isascii() else len(encoded(text))


def as_bytes_text(text: str) -> str:
    """Give a text with one character a byte, for operators that go byte by byte."""
    return text if text.isascii() else encoded(text).decode("latin-1")


def is_whole(text: str) -> bool:
    """Tell whether a text is valid UTF-8; then its search among characters finds what one among bytes would."""
    return text.isascii() or not any("\udc80" <= letter <= "\udcff" for letter in text)
