"""The operands of a check: the types of fields and transformers, and the values of literals for these types.

Both the checks and code generation use this module, so that every condition that passes can be generated. Text is
decoded with surrogateescape, so that comparing texts compares their bytes.
Source: libsinsp value_parser.cpp and sinsp_filtercheck.cpp; the limits are Falco's.
"""

import re
import socket
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from foundation.caches import cache_short_texts
from foundation.errors import LannerError
from foundation.text import canonical_address
from processor.fields.event import NUMERIC_TYPES
from processor.language.ast import Argument as Side
from processor.language.ast import ArgumentList, Field, FieldValue, Node, Transformer, checks, literals
from processor.language.tokens import EQUALITY_OPERATORS, SpanError
from schemas.catalog.fields import ARGUMENT_TYPES, FieldSpec, field_problem, resolve_field

FIELDS = frozenset({"fd.cip.name", "fd.sip.name", "fd.lip.name", "fd.rip.name"})
MAX_NAMES = 1000
"""Limit on resolved names; a list of a million domains belongs in a name server, not in a rule."""
MAX_NAME = 253
"""Maximum length of a host name in characters. Source: RFC 1035, section 2.3.4."""

STRING_TYPES = frozenset({"CHARBUF", "FSPATH", "FSRELPATH"})
NUMBER_TYPES = NUMERIC_TYPES - {"BOOL"}
ADDRESS_TYPES = frozenset({"IPADDR", "IPV4ADDR", "IPV6ADDR"})
NET_TYPES = frozenset({"IPNET", "IPV4NET", "IPV6NET"})
_MAX_BYTES = 255
"""The length of a text in a condition."""
_SIGNED = {"INT8": 8, "INT16": 16, "INT32": 32, "INT64": 64, "FD": 64, "PID": 64, "ERRNO": 64, "DOUBLE": 32}
_UNSIGNED = {
    **dict.fromkeys(("UINT8", "FLAGS8", "ENUMFLAGS8"), 8),
    **dict.fromkeys(("UINT16", "FLAGS16", "ENUMFLAGS16"), 16),
    **dict.fromkeys(("UINT32", "FLAGS32", "ENUMFLAGS32", "MODE", "UID", "GID"), 32),
    **dict.fromkeys(("UINT64", "RELTIME", "ABSTIME"), 64),
}
_NUMBER = re.compile(r"[ \t\n\v\f\r]*([+-]?[0-9]+)")
_MOST = (1 << 64) - 1
_HEX = re.compile(r"(?:[0-9a-fA-F]{2})+")
Literal = str | int | bool | bytes
_TEXT_OR_BYTES = STRING_TYPES | {"BYTEBUF"}
_TAKES = {
    "tolower": STRING_TYPES,
    "toupper": STRING_TYPES,
    "b64": frozenset({"CHARBUF", "BYTEBUF"}),
    "basename": STRING_TYPES,
    "len": _TEXT_OR_BYTES,
}


def names_to_resolve(conditions: Iterable[Node]) -> tuple[str, ...]:
    """Return the distinct host names that conditions without errors compare with the names of addresses, in order."""
    found: dict[str, None] = {}
    for condition in conditions:
        for check in checks(condition):
            if isinstance(check.left, Field) and check.left.name in FIELDS and check.operator in EQUALITY_OPERATORS:
                found.update(dict.fromkeys(value.text for value in literals(check) if is_host_name(value.text)))
    return tuple(found)[:MAX_NAMES]


def is_host_name(text: str) -> bool:
    """Return whether a text can be resolved: ASCII letters, digits, `-`, `_` and dots, and not an address."""
    allowed = text.isascii() and all(char.isalnum() or char in "-_." for char in text)
    return allowed and 0 < len(text) <= MAX_NAME and text.strip(".") != "" and canonical_address(text) is None


def names_by_address(answers: Mapping[str, Iterable[str]]) -> dict[str, tuple[str, ...]]:
    """Return names by address, in the order of the names. answers: addresses by name."""
    found: dict[str, dict[str, None]] = {}
    for name, addresses in answers.items():
        for address in addresses:
            canonical = canonical_address(address)
            if canonical is not None:
                found.setdefault(canonical, {})[name] = None
    return {address: tuple(names) for address, names in found.items()}


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


def parse_net(text: str) -> Net:
    """Parse ``10.0.0.0/8`` or ``2001:db8::/32``; host bits may be set. Raises BadLiteral for others."""
    address, slash, mask = text.partition("/")
    number = address_number(address)
    bits = 32 if "." in text else 128
    try:
        length = parse_number(mask, "UINT8") if slash else -1
    except BadLiteral:
        length = -1
    if number is None or number[0] != bits or not (bits == 128) <= length <= bits:
        raise BadLiteral(f"'{text}' is not a network: write it as 10.0.0.0/8 or 2001:db8::/32")
    ones = (1 << bits) - (1 << (bits - length))
    return Net(bits, number[1] & ones, ones)


def parse_number(text: str, kind: str) -> int:
    """Parse a decimal number as scanf does: one that exceeds its type wraps around, one that exceeds 64 bits is cut.

    Raises BadLiteral if the text is none, or the type has no numbers that can be written.
    """
    match = _NUMBER.fullmatch(text)
    if match is None:
        raise BadLiteral(f"'{text}' is not a valid number: a field of type {kind} needs decimal digits")
    number = int(match.group(1))
    if kind in _UNSIGNED:
        number = number if -_MOST <= number <= _MOST else _MOST
        return number & ((1 << _UNSIGNED[kind]) - 1)
    if kind not in _SIGNED:
        raise BadLiteral(f"a field of type {kind} cannot be compared with a value")
    half = 1 << (_SIGNED[kind] - 1)
    return (min(max(number, -1 << 63), (1 << 63) - 1) + half) % (2 * half) - half


def parse_port(text: str) -> int:
    """Parse a port: decimal digits, of which the lower 16 bits count, a service name, or nothing for 0.

    Raises BadLiteral if there is no such service.
    """
    if re.fullmatch("[0-9]*", text):
        number = int(text or "0")
        if number >= 1 << 31:
            raise BadLiteral(f"'{text}' is not a port")
        return number & 0xFFFF
    try:
        return socket.getservbyname(text)
    except (OSError, UnicodeError, ValueError):
        raise BadLiteral(f"'{text}' is neither a port nor a known service") from None


def parse_hex(text: str) -> bytes:
    """Parse the hexadecimal value of bcontains and bstartswith. Raises BadLiteral."""
    if _HEX.fullmatch(text) is None:
        raise BadLiteral("bcontains and bstartswith operator support hex strings only")
    return bytes.fromhex(text)


def fits_in_rule(text: str) -> bool:
    """Return whether a text is short enough for the conditions of rules."""
    return byte_length(text) <= _MAX_BYTES


def parse_literal(text: str, kind: str) -> Literal | Net:
    """Parse a rule's unescaped text as a value of a field's type. Raises BadLiteral."""
    if not fits_in_rule(text):
        raise BadLiteral(f"the value is longer than {_MAX_BYTES} bytes")
    if kind == "BYTEBUF":
        return text
    if "\0" in text:
        raise BadLiteral("a value must not contain a NUL byte (\\x00)")
    if kind in STRING_TYPES:
        return text
    if kind == "BOOL":
        if text not in ("true", "false"):
            raise BadLiteral(f"'{text}' is neither true nor false")
        return text == "true"
    if kind == "PORT":
        return parse_port(text)
    if kind in ADDRESS_TYPES:
        address = canonical_address(text)
        if address is None or ("." in text and ":" in text):
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


class BadOperand(SpanError):
    """Raised for a field or transformer that is unknown or used wrongly."""


@dataclass(frozen=True, slots=True)
class Shape:
    """The type of an operand and whether it is a list."""

    kind: str
    is_list: bool = False
    spec: FieldSpec | None = None
    argument: str | None = None

    @property
    def field(self) -> FieldSpec:
        """The field. Raises TypeError for an operand without one, which has no access."""
        if self.spec is None:
            raise TypeError("an operand without a field has no access")
        return self.spec


def field_text(field: Field) -> str:
    """Return a field as rules write it."""
    return field.name if field.argument is None else f"{field.name}[{field.argument}]"


def field_shape(field: Field) -> Shape:
    """Return the type of a field. Raises BadOperand if it is unknown, or its argument is wrong."""
    found = resolve_field(field_text(field)) if field.argument != "" else None
    if found is None:
        text = field_text(field)
        unknown = resolve_field(field.name) is None and field_problem(field.name) == f"unknown field '{field.name}'"
        message = f"filter_check called with nonexistent field {text}" if unknown else field_problem(text) or text
        raise BadOperand(message, field.span, unknown=unknown)
    spec, argument = found
    kind = spec.type
    if spec.name == "evt.rawarg" and argument is not None:
        kind = ARGUMENT_TYPES[argument][0]
    return Shape(kind, spec.is_list, spec, argument)


def side_shape(side: Side | FieldValue) -> Shape:
    """Return the type of a field, a literal or a transformer. Raises BadOperand."""
    if isinstance(side, FieldValue):
        if side.argument is not None:
            raise BadOperand("transformer 'val' does not support field arguments", side.span)
        return field_shape(side.field)
    if isinstance(side, Field):
        return field_shape(side)
    if isinstance(side, Transformer):
        return _transformer_shape(side)
    if isinstance(side, ArgumentList):
        for item in side.items:
            side_shape(item)
        return Shape("CHARBUF", is_list=True)
    return Shape("CHARBUF")


def transformed_field(side: Side | FieldValue) -> FieldSpec | None:
    """Return the field that an operand is, with or without transformers of one value around it; None if it is none."""
    while isinstance(side, Transformer) and side.name in _TAKES:
        side = side.arguments[0]
    return side_shape(side).spec


def _transformer_shape(side: Transformer) -> Shape:
    if side.argument is not None and side.name != "getopt":
        raise BadOperand(f"transformer '{side.name}' does not support field arguments", side.span)
    if side.name in _TAKES:
        return _simple_shape(side)
    if side.name == "join":
        return _join_shape(side)
    if side.name == "concat":
        return _concat_shape(side)
    if side.name == "getopt":
        return _getopt_shape(side)
    raise BadOperand(f"unknown transformer '{side.name}'", side.span)


def _simple_shape(side: Transformer) -> Shape:
    if len(side.arguments) != 1:
        raise BadOperand(f"transformer '{side.name}' takes one argument", side.span)
    inner = side.arguments[0]
    shape = side_shape(inner)
    if shape.spec is not None and shape.spec.no_transformer:
        raise BadOperand(f"field '{shape.spec.name}' does not support transformers", side.span)
    if shape.kind not in _TAKES[side.name] and not (side.name == "len" and shape.is_list):
        what = "list field" if shape.is_list else "field"
        of = f" applied on {what} '{field_text(inner)}'" if isinstance(inner, Field) else ""
        raise BadOperand(
            f"can't add field transformer: type '{shape.kind}' is not supported by '{side.name}' transformer{of}",
            side.span,
        )
    return Shape("UINT64") if side.name == "len" else Shape(shape.kind, shape.is_list)


def _join_shape(side: Transformer) -> Shape:
    if len(side.arguments) != 2:
        raise BadOperand("join() requires exactly 2 arguments: separator and list", side.span)
    separator, items = (side_shape(argument) for argument in side.arguments)
    if separator.is_list or separator.kind not in STRING_TYPES:
        raise BadOperand("join() first argument (separator) must be a single value, not a list", side.span)
    if not items.is_list:
        raise BadOperand("join() second argument must be a list", side.span)
    return Shape("CHARBUF")


def _concat_shape(side: Transformer) -> Shape:
    if len(side.arguments) < 2:
        raise BadOperand("concat() requires at least 2 arguments", side.span)
    for argument in side.arguments:
        shape = side_shape(argument)
        if shape.is_list or shape.kind not in STRING_TYPES:
            raise BadOperand("concat() arguments must be strings", side.span)
    return Shape("CHARBUF")


def _getopt_shape(side: Transformer) -> Shape:
    if len(side.arguments) != 2:
        raise BadOperand("getopt() requires exactly 2 arguments: args list and optstring", side.span)
    words, known = (side_shape(argument) for argument in side.arguments)
    if not words.is_list:
        raise BadOperand("getopt() first argument must be a list", side.span)
    if known.is_list:
        raise BadOperand("getopt() second argument (optstring) must be a single value", side.span)
    if {words.kind, known.kind} != {"CHARBUF"}:
        raise BadOperand("getopt() arguments must be strings", side.span)
    if side.argument is None:
        return Shape("CHARBUF", is_list=True)
    if len(side.argument) != 1:
        raise BadOperand("getopt() field argument must be a single option character", side.span)
    return Shape("CHARBUF")
