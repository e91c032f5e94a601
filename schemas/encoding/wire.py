"""How a message says by which schema it was written, and how one written by another release is read.

Two beginnings are known: Avro's single-object encoding (two marker bytes and a fingerprint), which is what we encode,
and Confluent's wire format (a zero byte and the id that a registry gave). What follows is the same datum.
Sources: the Avro specification, "Single-object encoding" and "Schema Resolution"; Confluent's documentation,
"Wire format".
"""

import io
import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import fastavro
from fastavro.schema import fingerprint, parse_schema, to_parsing_canonical_form

from schemas.errors import LannerError

MARKER = b"\xc3\x01"
HEADER_SIZE = 10
"""Marker and fingerprint."""
REGISTRY_MARKER = b"\0"
REGISTRY_HEADER_SIZE = 5
"""Marker and a schema's id, big-endian."""
MAX_SCHEMA_BYTES = 256 * 1024
UNKNOWN_SCHEMA = "its schema is not known"
_MAX_DEPTH = 32
_MAX_TYPES = 5_000
_PRIMITIVES = frozenset({"null", "boolean", "int", "long", "float", "double", "bytes", "string"})


class UnreadableMessage(LannerError, ValueError):
    """Bytes that are no message of this kind, or one of a schema that nobody knows."""


class BadSchema(LannerError, ValueError):
    """A schema that can't be a writer's, or by which reading would take more than its messages' length."""


@dataclass(frozen=True, slots=True)
class WriterSchema:
    """A record's schema that somebody else wrote, checked: safe to read by, whatever the message."""

    name: str
    """With its namespace."""
    header: bytes
    """What a message of it in single-object encoding begins with."""
    parsed: Any


def single_object_header(schema: Any) -> bytes:
    """Give what a message of a schema begins with."""
    return MARKER + bytes.fromhex(fingerprint(to_parsing_canonical_form(schema), "CRC-64-AVRO"))


def registry_header(number: int) -> bytes:
    """Give what a message in Confluent's wire format begins with. number: the schema's id in the registry."""
    return REGISTRY_MARKER + number.to_bytes(4, "big")


def header_of(data: bytes) -> bytes:
    """Give the part of a message that names its schema; empty where it begins as none of ours does."""
    size = {MARKER[:1]: HEADER_SIZE, REGISTRY_MARKER: REGISTRY_HEADER_SIZE}.get(data[:1], 0)
    is_whole = len(data) >= size and (size != HEADER_SIZE or data.startswith(MARKER))
    return data[:size] if is_whole else b""


def reframed(data: bytes, header: bytes, own: bytes) -> bytes:
    """Put another beginning before a message that we encoded; one of another release is left as it is.

    Args:
        data: the message.
        header: its new beginning.
        own: what messages of our schema begin with.
    """
    return header + data[len(own) :] if data.startswith(own) else data


class MessageFormat:
    """One kind of message: our schema of it, and those of former releases."""

    def __init__(self, schema: dict[str, Any], older: Iterable[dict[str, Any]] = ()) -> None:
        """Parse schemas once.

        Args:
            schema: ours.
            older: of former releases, which are read without asking anybody.
        """
        self.schema = schema
        self.header = single_object_header(schema)
        parsed: Any = parse_schema(schema)
        for field in parsed["fields"]:
            if field["type"] == "bytes" and "default" in field:
                # A schema writes it as a text of such code points; fastavro would leave it that.
                field["default"] = field["default"].encode("latin-1")
        self._parsed = parsed
        self.name: str = parsed["name"]
        self.known = {single_object_header(each): parse_schema(each) for each in (*older, schema)}
        """Schemas that are read without asking anybody, by what their messages begin with."""

    def encode(self, datum: dict[str, Any]) -> bytes:
        """Encode, with the beginning."""
        out = io.BytesIO()
        out.write(self.header)
        fastavro.schemaless_writer(out, self._parsed, datum)
        return out.getvalue()

    def decode(self, data: bytes) -> Any:
        """Decode a message that this release or a former one wrote.

        Raises:
            Unreadable: and why.
        """
        header = header_of(data)
        if header == self.header:
            return self.decode_datum(data[HEADER_SIZE:])
        if not header:
            raise UnreadableMessage("neither Avro single-object encoding nor Confluent's wire format")
        if header not in self.known:
            raise UnreadableMessage(f"{UNKNOWN_SCHEMA}: {told(header)}")
        return self.decode_datum(data[HEADER_SIZE:], self.known[header])

    def decode_datum(self, data: bytes, writer: Any = None) -> Any:
        """Decode without a beginning. writer: the schema that it was written by, parsed; None where it is ours.

        Raises:
            Unreadable: and why.
        """
        if writer is not None and writer.get("name") != self.name:
            raise UnreadableMessage(f"it is a {writer.get('name')}, not a {self.name}")
        stream = io.BytesIO(data)
        try:
            datum = fastavro.schemaless_reader(stream, writer or self._parsed, self._parsed if writer else None)
        except Exception as error:  # fastavro lets whatever went wrong come out: EOFError, IndexError, struct.error ...
            raise UnreadableMessage(f"not decodable: {error or type(error).__name__}") from error
        if stream.tell() != len(data):
            raise UnreadableMessage(f"{len(data) - stream.tell()} bytes after its end")
        return datum

    def translated(self, datum: bytes, writer: WriterSchema) -> bytes:
        """Give a message as this release or a former one writes it: what we don't know is left out, defaults fill in.

        Args:
            datum: the message without its beginning.
            writer: the schema that it was written by.

        Raises:
            Unreadable: and why.
        """
        if writer.header in self.known:
            return writer.header + datum
        read = self.decode_datum(datum, writer.parsed)
        try:
            return self.encode(read)
        except Exception as error:  # what another schema lets stand for ours need not be of our types
            raise UnreadableMessage(
                f"its schema gives values of other types: {error or type(error).__name__}"
            ) from error


def told(header: bytes) -> str:
    """Give a message's beginning as people look for it: fingerprint or id."""
    if header.startswith(MARKER):
        return f"fingerprint {header[2:].hex()}"
    return f"id {int.from_bytes(header[1:], 'big')} of the schema registry"


def checked_schema(text: bytes | str) -> WriterSchema:
    """Parse a schema that somebody else wrote, for reading.

    Whoever may write events may write a schema. One with items that take no bytes would have a short message stand
    for billions of them, and one that holds itself, or types within types without end, would end in a full stack;
    none of these is ever ours.

    Raises:
        BadSchema: and why.
    """
    if len(text) > MAX_SCHEMA_BYTES:
        raise BadSchema(f"a schema of {len(text)} bytes")
    try:
        schema = json.loads(text)
        _Check().visit(schema, frozenset(), 0)
        parsed: Any = parse_schema(schema)
        if not isinstance(parsed, dict) or parsed["type"] != "record":
            raise BadSchema("a schema of no record")  # noqa: TRY301  the others come from within
        return WriterSchema(parsed["name"], single_object_header(parsed), parsed)
    except BadSchema:
        raise
    except Exception as error:  # RecursionError, and whatever fastavro lets out
        raise BadSchema(f"no Avro schema: {error or type(error).__name__}") from error


class _Check:
    """Goes through a schema as reading would: what is used twice is looked at twice."""

    def __init__(self) -> None:
        self._named: dict[str, Any] = {}
        self._seen = 0

    def visit(self, schema: Any, inside: frozenset[str], depth: int, *, in_union: bool = False) -> None:
        self._seen += 1
        if self._seen > _MAX_TYPES or depth > _MAX_DEPTH:
            raise BadSchema("a schema of too many types")
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
                raise BadSchema("a null that is in no union")
        elif kind in ("array", "map"):
            self.visit(schema["items" if kind == "array" else "values"], inside, depth + 1)
        elif kind in ("record", "fixed", "enum"):
            name = str(schema["name"]).rsplit(".", maxsplit=1)[-1]
            if self._named.setdefault(name, schema) is not schema:
                raise BadSchema(f"two types {name}")
            self._visit_named(name, schema, inside, depth)
        elif kind not in _PRIMITIVES:
            name = str(kind).rsplit(".", maxsplit=1)[-1]
            if name in inside or name not in self._named:
                raise BadSchema(f"a type {name} that holds itself, or that is not there")
            self._visit_named(name, self._named[name], inside, depth)
        if isinstance(schema, dict):
            # Numbers are read as they are: a logical type only says how to show them.
            schema.pop("logicalType", None)

    def _visit_named(self, name: str, schema: dict[str, Any], inside: frozenset[str], depth: int) -> None:
        if schema["type"] == "fixed" and schema["size"] < 1:
            raise BadSchema("a fixed of no bytes")
        if schema["type"] == "record":
            if not schema["fields"]:
                raise BadSchema("a record without fields")
            for field in schema["fields"]:
                self.visit(field["type"], inside | {name}, depth + 1)
