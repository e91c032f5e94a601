"""The bytes that a collector's signature of a batch covers: the encoded batch, and everything else that a reader uses.

No cryptographic library is imported here: the collector has its own, which takes less memory. There is no standard for
signature headers; the names have the prefix of Lanner's other headers.
"""

from collections.abc import Mapping
from hashlib import sha256

from bus.messages.headers import CLOCK, SENT

KEY = "lanner_key"
"""The header with the public key of the host, 32 bytes."""
SIGNATURE = "lanner_signature"
"""The header with an Ed25519 signature, 64 bytes."""
SIGNATURE_BYTES = 64
BATCH_DOMAIN = b"lanner batch\0"
"""Precedes the signed bytes, so that the signature is not valid for anything else."""
HOST_DOMAIN = b"lanner host\0"
"""The same for a collector's announcement."""
SIGNED_HEADERS = (SENT, CLOCK)
"""Headers that affect how a batch is read: its times are corrected by them."""


def signed_content(topic: str, key: bytes, headers: Mapping[str, bytes], value: bytes) -> bytes:
    """Return the bytes that the signature of a message covers, without the domain.

    Signing the topic keeps a batch from being replayed in another fleet; signing the key binds it to its host id. The
    result is a digest, because Ed25519 reads its message twice and hashing needs no copy of the batch.

    Args:
        topic: full name.
        key: key of the message: the host id.
        headers: headers of the message; only the signed ones are used.
        value: the batch as it is sent.
    """
    digest = sha256()
    for part in (topic.encode(), key, *(headers.get(name, b"") for name in SIGNED_HEADERS)):
        digest.update(b"%d:" % len(part))
        digest.update(part)
    digest.update(value)
    return digest.digest()
