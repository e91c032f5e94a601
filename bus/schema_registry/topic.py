"""The topic of schemas: each writer puts its own there before its first message, so any reader can resolve it."""

import json
from typing import Any

from bus.messages.headers import Headers
from schemas.encoding.wire import MARKER, BadSchema, WriterSchema, checked_schema, single_object_header

SCHEMA_HEADERS: Headers = [("content-type", b"application/json")]


def schema_message(schema: dict[str, Any]) -> tuple[bytes, bytes]:
    """Give key and value under which a schema is published.

    The key is the fingerprint in hex as it stands, byte for byte, behind the marker of a single-object message.
    Source: the Avro specification, "Single-object encoding".
    """
    key = single_object_header(schema).removeprefix(MARKER).hex()
    return key.encode(), json.dumps(schema, separators=(",", ":")).encode()


def schema_of_message(key: bytes, value: bytes) -> WriterSchema:
    """Read a published schema.

    Raises:
        BadSchema: it is none, or not the one that its key names: nobody can put another in its place.
    """
    schema = checked_schema(value)
    if schema.header.removeprefix(MARKER).hex().encode() != key:
        raise BadSchema("a schema under another's fingerprint")
    return schema
