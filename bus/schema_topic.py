"""The topic of schemas: each writer puts its own there before its first message, so any reader can resolve it."""

import json
from typing import Any

from fastavro.schema import fingerprint, to_parsing_canonical_form

from bus.headers import Headers

SINGLE_OBJECT_MARKER = b"\xc3\x01"
SCHEMA_HEADERS: Headers = [("content-type", b"application/json")]


def schema_message(schema: dict[str, Any]) -> tuple[bytes, bytes]:
    """Give key and value under which a schema is published.

    The key is the fingerprint in hex as it stands, byte for byte, behind the marker of a single-object message.
    Source: the Avro specification, "Single-object encoding".
    """
    key = fingerprint(to_parsing_canonical_form(schema), "CRC-64-AVRO")
    return key.encode(), json.dumps(schema, separators=(",", ":")).encode()
