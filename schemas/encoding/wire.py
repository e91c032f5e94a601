"""Message headers that name the writer's schema, and decoding of messages that another release wrote.

Two headers are known: that of Avro's single-object encoding (two marker bytes and a fingerprint), which Lanner writes,
and that of Confluent's wire format (a zero byte and an id from a schema registry). The datum after it is the same.
Sources: the Avro specification, "Single-object encoding" and "Schema Resolution"; Confluent's documentation,
"Wire format".
"""

import io
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import fastavro
from fastavro.schema import fingerprint, parse_schema, to_parsing_canonical_form

from foundation.errors import LannerError

MARKER = b"\xc3\x01"
HEADER_SIZE = 10
"""Marker and fingerprint."""
REGISTRY_MARKER = b"\0"
REGISTRY_HEADER_SIZE = 5
"""Marker and a schema's id, big-endian."""
MAX_SCHEMA_BYTES = 256 * 1024
UNKNOWN_SCHEMA = "unknown schema"
_MAX_DEPTH = 32
_MAX_TYPES = 5_000
_PRIMITIVES = frozenset({"null", "boolean", "int", "long", "float", "double", "bytes", "string"})


class UnreadableMessage(LannerError, ValueError):
    """The bytes are not a message of this kind, or their schema is unknown."""


class BadSchema(LannerError, ValueError):
    """The schema is not a valid writer's schema, or reading by it could take more memory than its messages have."""


@dataclass(frozen=True, slots=True)
class WriterSchema:
    """A checked record schema of another writer: reading any message by it is safe."""

    name: str
    """With its namespace."""
    header: bytes
    """The header of its messages in single-object encoding."""
    parsed: Any


def packaged_schema(name: str) -> dict[str, Any]:
    """Return a schema of this package by its file's name."""
    return dict(json.loads(Path(__file__).parents[1].joinpath(name).read_text(encoding="utf-8")))


def single_object_header(schema: Any) -> bytes:
    """Return the single-object header of messages of a schema."""
    return MARKER + bytes.fromhex(fingerprint(to_parsing_canonical_form(schema), "CRC-64-AVRO"))


def registry_header(number: int) -> bytes:
    """Return the header of a message in Confluent's wire format. number: the schema's id in the registry."""
    return REGISTRY_MARKER + number.to_bytes(4, "big")


def header_of(data: bytes) -> bytes:
    """Return the header of a message, which names its schema; empty if it has neither of the known headers."""
    size = {MARKER[:1]: HEADER_SIZE, REGISTRY_MARKER: REGISTRY_HEADER_SIZE}.get(data[:1], 0)
    is_whole = len(data) >= size and (size != HEADER_SIZE or data.startswith(MARKER))
    return data[:size] if is_whole else b""


def reframed(data: bytes, header: bytes, own: bytes) -> bytes:
    """Replace the header of a message if it is our own schema's; return a message of another schema unchanged."""
    return header + data[len(own) :] if data.startswith(own) else data


def varint(number: int) -> bytes:
    """Encode a non-negative long as Avro does: zigzag, seven bits per byte."""
    number <<= 1
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


class MessageFormat:
    """One kind of message: its current schema, and those of earlier releases."""

    def __init__(self, schema: dict[str, Any], older: Iterable[dict[str, Any]] = ()) -> None:
        """Parse schemas once. older: those of earlier releases, which are read without looking them up."""
        self.schema = schema
        self.header = single_object_header(schema)
        parsed: Any = parse_schema(schema)
        for field in parsed["fields"]:
            if field["type"] == "bytes" and "default" in field:
                # A schema gives the default as a string of code points; fastavro would not convert it.
                field["default"] = field["default"].encode("latin-1")
        self._parsed = parsed
        self.name: str = parsed["name"]
        self.known = {single_object_header(each): parse_schema(each) for each in (*older, schema)}
        """The schemas that are read without looking them up, by their messages' header."""

    def encode(self, datum: dict[str, Any]) -> bytes:
        """Encode a message, header included."""
        out = io.BytesIO()
        out.write(self.header)
        fastavro.schemaless_writer(out, self._parsed, datum)
        return out.getvalue()

    def decode(self, data: bytes) -> Any:
        """Decode a message that this or an earlier release wrote.

        Raises:
            UnreadableMessage: with the reason.
        """
        header = header_of(data)
        if header == self.header:
            return self.decode_datum(data[HEADER_SIZE:])
        if not header:
            raise UnreadableMessage("neither Avro single-object encoding nor Confluent's wire format")
        if header not in self.known:
            raise UnreadableMessage(f"{UNKNOWN_SCHEMA}: {describe_header(header)}")
        return self.decode_datum(data[HEADER_SIZE:], self.known[header])

    def decode_datum(self, data: bytes, writer: Any = None) -> Any:
        """Decode a message without its header. Raises UnreadableMessage with the reason.

        The writer's parsed schema is None for the current one.
        """
        if writer is not None and writer.get("name") != self.name:
            raise UnreadableMessage(f"it is a {writer.get('name')}, not a {self.name}")
        stream = io.BytesIO(data)
        try:
            datum = fastavro.schemaless_reader(stream, writer or self._parsed, self._parsed if writer else None)
        except Exception as error:  # fastavro may raise anything: EOFError, IndexError, struct.error ...
            raise UnreadableMessage(f"not decodable: {error or type(error).__name__}") from error
        if stream.tell() != len(data):
            raise UnreadableMessage(f"{len(data) - stream.tell()} extra bytes at its end")
        return datum

    def translated(self, datum: bytes, writer: WriterSchema) -> bytes:
        """Return a message without its header in the current schema or that of an earlier release.

        Fields that the current schema lacks are left out; fields that the message lacks get their defaults.

        Raises:
            UnreadableMessage: with the reason.
        """
        if writer.header in self.known:
            return writer.header + datum
        read = self.decode_datum(datum, writer.parsed)
        try:
            return self.encode(read)
        except Exception as error:  # values that resolve by Avro's rules may still not fit our types
            raise UnreadableMessage(f"its schema has values of other types: {error or type(error).__name__}") from error


def describe_header(header: bytes) -> str:
    """Return the fingerprint or the registry's id in a header, for error messages."""
    if header.startswith(MARKER):
        return f"fingerprint {header[2:].hex()}"
    return f"id {int.from_bytes(header[1:], 'big')} of the schema registry"


def checked_schema(text: bytes | str) -> WriterSchema:
    """Parse and check a schema of another writer.

    Whoever may write events may write a schema. With items of zero bytes, a short message could stand for billions of
    items; a recursive or deeply nested schema could exhaust the stack. Lanner's own schemas have none of these.

    Raises:
        BadSchema: with the reason.
    """
    if len(text) > MAX_SCHEMA_BYTES:
        raise BadSchema(f"a schema of {len(text)} bytes; the limit is {MAX_SCHEMA_BYTES}")
    try:
        schema = json.loads(text)
        _Check().visit(schema, frozenset(), 0)
        parsed: Any = parse_schema(schema)
        if not isinstance(parsed, dict) or parsed["type"] != "record":
            raise BadSchema("not a record schema")  # noqa: TRY301  the others come from within
        return WriterSchema(parsed["name"], single_object_header(parsed), parsed)
    except BadSchema:
        raise
    except Exception as error:  # RecursionError, and anything that fastavro raises
        raise BadSchema(f"not an Avro schema: {error or type(error).__name__}") from error


class _Check:
    """Visits a schema as a reader would: a type that is used twice is visited twice."""

    def __init__(self) -> None:
        self._named: dict[str, Any] = {}
        self._seen = 0

    def visit(self, schema: Any, inside: frozenset[str], depth: int, *, in_union: bool = False) -> None:
        self._seen += 1
        if self._seen > _MAX_TYPES or depth > _MAX_DEPTH:
            raise BadSchema("too many or too deeply nested types")
        if isinstance(schema, list):
            if not schema:
                raise BadSchema("an empty union")
            for each in schema:
                self.visit(each, inside, depth + 1, in_union=True)
            return
        kind = schema if isinstance(schema, str) else schema["type"]
        if isinstance(kind, (dict, list)):
            self.visit(kind, inside, depth + 1, in_union=in_union)
        elif kind == "null":
            if not in_union:
                raise BadSchema("null outside of a union")
        elif kind in ("array", "map"):
            self.visit(schema["items" if kind == "array" else "values"], inside, depth + 1)
        elif kind in ("record", "fixed", "enum"):
            name = str(schema["name"]).rsplit(".", maxsplit=1)[-1]
            if self._named.setdefault(name, schema) is not schema:
                raise BadSchema(f"two types named {name}")
            self._visit_named(name, schema, inside, depth)
        elif kind not in _PRIMITIVES:
            name = str(kind).rsplit(".", maxsplit=1)[-1]
            if name in inside or name not in self._named:
                raise BadSchema(f"type {name} is recursive or not defined")
            self._visit_named(name, self._named[name], inside, depth)
        if isinstance(schema, dict):
            # Numbers are read as they are: a logical type only changes how they are shown.
            schema.pop("logicalType", None)

    def _visit_named(self, name: str, schema: dict[str, Any], inside: frozenset[str], depth: int) -> None:
        if schema["type"] == "fixed" and schema["size"] < 1:
            raise BadSchema("a fixed type of zero bytes")
        if schema["type"] == "record":
            if not schema["fields"]:
                raise BadSchema("a record without fields")
            for field in schema["fields"]:
                self.visit(field["type"], inside | {name}, depth + 1)
