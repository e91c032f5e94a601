"""Signed requests by the scheme of Standard Webhooks, for which most languages have a library.

The signature is HMAC-SHA256 over `ID.TIMESTAMP.BODY`. The id is the alert's, so that a receiver can drop duplicates;
the timestamp lets it refuse replayed requests.
Source: github.com/standard-webhooks/standard-webhooks, spec/standard-webhooks.md.
"""

import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import Sequence
from hashlib import blake2b

_ID = re.compile(r"[A-Za-z0-9_-]{1,100}", re.ASCII)
_PREFIX = "whsec_"


def key_of(secret: str) -> bytes:
    """Return the key of a secret: base64 after `whsec_`, else the secret itself. Raises ValueError."""
    if not secret.startswith(_PREFIX):
        return secret.encode()
    try:
        return base64.b64decode(secret.removeprefix(_PREFIX), validate=True)
    except binascii.Error:
        raise ValueError("what follows whsec_ must be base64") from None


def message_id(ids: Sequence[str]) -> str:
    """Return the id of a request: the alert's own, or a hash of the ids of several.

    An id from the intake is untrusted; it must not inject a header.
    """
    if len(ids) == 1 and _ID.fullmatch(ids[0]):
        return ids[0]
    return blake2b("\n".join(ids).encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()


def signature(key: bytes, message: str, timestamp: int, body: bytes) -> str:
    """Return the value of the header `webhook-signature`."""
    digest = hmac.new(key, f"{message}.{timestamp}.".encode() + body, hashlib.sha256).digest()
    return f"v1,{base64.b64encode(digest).decode()}"
