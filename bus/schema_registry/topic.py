"""The topic of schemas: each writer publishes its schema there before its first message, so any reader can find it."""

import json
from typing import Any

from bus.messages.headers import Headers
from schemas.encoding.wire import MARKER, BadSchema, WriterSchema, checked_schema, single_object_header

SCHEMA_HEADERS: Headers = [("content-type", b"application/json")]


def schema_message(schema: dict[str, Any]) -> tuple[bytes, bytes]:
    """Return key and value of the message that publishes a schema.

    The key is the fingerprint in hex, with the bytes in the same order as in the header of a single-object message.
    Source: the Avro specification, "Single-object encoding".
    """
    key = single_object_header(schema).removeprefix(MARKER).hex()
    return key.encode(), json.dumps(schema, separators=(",", ":")).encode()


def schema_of_message(key: bytes, value: bytes) -> WriterSchema:
    """Parse and check a published schema.

    Raises:
        BadSchema: it is not a valid schema, or its fingerprint differs from its key, which rules out substitution.
    """
    schema = checked_schema(value)
    if schema.header.removeprefix(MARKER).hex().encode() != key:
        raise BadSchema("the schema's fingerprint differs from its key")
    return schema
