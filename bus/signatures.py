"""Ed25519 signatures, with keys from PEM files as OpenSSL writes them, or from raw bytes.

Source: RFC 8032. A domain prefix before the message keeps a signature from being valid for anything else.
"""

from collections.abc import Iterable
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)

from foundation.errors import LannerError
from schemas import host_keys

RULES_DOMAIN = b"lanner rules\0"


class BadSigningKey(LannerError, ValueError):
    """The data is not a usable key."""


def read_private_key(path: Path, password: str = "") -> Ed25519PrivateKey:
    """Read a private key. Raises BadSigningKey, or OSError if the file can't be read."""
    data = path.read_bytes()
    try:
        key = load_pem_private_key(data, password.encode() or None)
    except TypeError:
        what = "it is encrypted and no password was given" if not password else "it is not encrypted"
        raise BadSigningKey(what) from None
    except ValueError:
        raise BadSigningKey("not a private key in PEM format, or the wrong password") from None
    except Exception as error:  # noqa: BLE001  an algorithm that OpenSSL does not have
        raise BadSigningKey(f"not a usable key: {type(error).__name__}") from None
    if not isinstance(key, Ed25519PrivateKey):
        raise BadSigningKey("not an Ed25519 key; create one with: openssl genpkey -algorithm ed25519 -out FILE")
    return key


def read_public_key(path: Path) -> Ed25519PublicKey:
    """Read a public key. Raises BadSigningKey, or OSError if the file can't be read."""
    data = path.read_bytes()
    try:
        key = load_pem_public_key(data)
    except Exception:  # noqa: BLE001  any error that OpenSSL raises
        raise BadSigningKey(
            "not a public key in PEM format; extract it from the private key with: openssl pkey -in KEY -pubout"
        ) from None
    if not isinstance(key, Ed25519PublicKey):
        raise BadSigningKey("not an Ed25519 key")
    return _safe(key)


def bare_public_key(data: bytes) -> Ed25519PublicKey:
    """Return the public key with these 32 bytes. Raises BadSigningKey."""
    try:
        key = Ed25519PublicKey.from_public_bytes(data)
    except ValueError:
        raise BadSigningKey("not an Ed25519 key") from None
    return _safe(key)


def _safe(key: Ed25519PublicKey) -> Ed25519PublicKey:
    if host_keys.is_weak(key.public_bytes_raw()):
        raise BadSigningKey("anyone can sign for this key, since its point has a small order")
    return key


def key_id(key: Ed25519PublicKey) -> str:
    """Return a short name of a key."""
    return host_keys.key_id(key.public_bytes(Encoding.Raw, PublicFormat.Raw))


def sign(key: Ed25519PrivateKey, domain: bytes, message: bytes) -> bytes:
    """Return the signature of a message."""
    return key.sign(domain + message)


def is_signed_by(key: Ed25519PublicKey, signature: bytes, domain: bytes, message: bytes) -> bool:
    """Return whether a key signed a message."""
    try:
        key.verify(signature, domain + message)
    except InvalidSignature:
        return False
    return True


def signer(keys: Iterable[Ed25519PublicKey], signature: bytes, domain: bytes, message: bytes) -> str:
    """Return the id of the key that signed a message; empty if none of them did."""
    return next((key_id(key) for key in keys if is_signed_by(key, signature, domain, message)), "")
