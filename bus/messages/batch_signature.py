"""What a collector signs of each batch: the bytes as they are sent, and all beside them that a reader believes.

No library for signatures is imported here: a collector has one of its own, which takes less memory.
Source of the headers' place: none is standard; their names begin as our other headers do.
"""

from collections.abc import Mapping
from hashlib import sha256

from bus.messages.headers import CLOCK, SENT

KEY = "lanner_key"
"""The header that holds the public key of the host, 32 bytes."""
SIGNATURE = "lanner_signature"
"""The header that holds an Ed25519 signature, 64 bytes."""
SIGNATURE_BYTES = 64
BATCH_DOMAIN = b"lanner batch\0"
"""Before what is signed, so that the signature means nothing elsewhere."""
HOST_DOMAIN = b"lanner host\0"
"""The same for what a collector announces about itself."""
SIGNED_HEADERS = (SENT, CLOCK)
"""Headers that change how a batch is read: by them its times are corrected."""


def signed_content(topic: str, key: bytes, headers: Mapping[str, bytes], value: bytes) -> bytes:
    """Return what the signature of a message covers, without its domain.

    The topic keeps a batch of one fleet out of another, the key keeps it under the id that it was sent under. A digest,
    since Ed25519 reads its message twice, and a batch need not be copied for it.

    Args:
        topic: full name.
        key: of the message: the host id.
        headers: of the message; only those that are signed are looked at.
        value: the batch as it is sent.
    """
    digest = sha256()
    for part in (topic.encode(), key, *(headers.get(name, b"") for name in SIGNED_HEADERS)):
        digest.update(b"%d:" % len(part))
        digest.update(part)
    digest.update(value)
    return digest.digest()
