"""A host's identity in the fleet: its id, and a private key that no other host has.

The key is created at the first start and stored as `openssl genpkey -algorithm ed25519` writes it, so that `openssl
pkey -in FILE -pubout` reads it. Source of that format: RFC 8410, section 7.
"""

import ctypes
import importlib
import os
import secrets
import stat
import time
from base64 import b64decode, b64encode
from binascii import Error
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from bus.messages import BATCH_DOMAIN, HOST_DOMAIN, KEY, SIGNATURE, Headers, signed_content
from foundation.errors import EnvironmentUnsupported, LannerError
from foundation.files import write_atomically
from schemas.host_keys import Announcement, encode_announcement, key_id

SEED_BYTES = 32
_KEY_BYTES, _SIGNATURE_BYTES = 32, 64
_ED25519 = 1087
"""EVP_PKEY_ED25519. Source: obj_mac.h, NID_ED25519."""


class SigningKey:
    """A private key; it stays in OpenSSL's memory until the process ends."""

    def __init__(self, seed: bytes) -> None:
        """Take the private key's 32 bytes.

        Raises:
            EnvironmentUnsupported: this Python has no OpenSSL that can sign.
        """
        if len(seed) != SEED_BYTES:
            raise ValueError(f"a private key has {SEED_BYTES} bytes, not {len(seed)}")
        self._library = _openssl()
        self._key = self._library.EVP_PKEY_new_raw_private_key(_ED25519, None, seed, len(seed))
        public, size = ctypes.create_string_buffer(_KEY_BYTES), ctypes.c_size_t(_KEY_BYTES)
        if not self._key or self._library.EVP_PKEY_get_raw_public_key(self._key, public, ctypes.byref(size)) != 1:
            raise _lacking("it does not know Ed25519")
        self.public_key = public.raw
        """The public key's 32 bytes."""

    def __repr__(self) -> str:
        return f"SigningKey({self.public_key.hex()})"

    def sign(self, message: bytes) -> bytes:
        """Return the signature of a message, 64 bytes."""
        library = self._library
        context = library.EVP_MD_CTX_new()
        signature, size = ctypes.create_string_buffer(_SIGNATURE_BYTES), ctypes.c_size_t(_SIGNATURE_BYTES)
        try:
            is_signed = (
                context
                and library.EVP_DigestSignInit(context, None, None, None, self._key) == 1
                and library.EVP_DigestSign(context, signature, ctypes.byref(size), message, len(message)) == 1
            )
        finally:
            library.EVP_MD_CTX_free(context)
        if not is_signed or size.value != _SIGNATURE_BYTES:
            raise RuntimeError("OpenSSL could not sign")
        return signature.raw


@cache
def _openssl() -> Any:
    try:
        # The symbols are found through the module linked to the library, whatever its file name is.
        library = ctypes.CDLL(importlib.import_module("_hashlib").__file__)
        for name, result, arguments in _FUNCTIONS:
            function = getattr(library, name)
            function.restype, function.argtypes = result, arguments
    except (ImportError, AttributeError, OSError, TypeError) as error:
        raise _lacking(str(error)) from None
    return library


def _lacking(reason: str) -> EnvironmentUnsupported:
    return EnvironmentUnsupported(
        f"this Python's OpenSSL can't sign events ({reason})",
        "run Debian's Python, or set collector.identity: off here and on all processors",
    )


_POINTER, _SIZE, _INT = ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int
_SIZE_POINTER = ctypes.POINTER(ctypes.c_size_t)
_FUNCTIONS: tuple[tuple[str, Any, list[Any]], ...] = (
    ("EVP_PKEY_new_raw_private_key", _POINTER, [_INT, _POINTER, ctypes.c_char_p, _SIZE]),
    ("EVP_PKEY_get_raw_public_key", _INT, [_POINTER, _POINTER, _SIZE_POINTER]),
    ("EVP_MD_CTX_new", _POINTER, []),
    ("EVP_MD_CTX_free", None, [_POINTER]),
    ("EVP_DigestSignInit", _INT, [_POINTER] * 5),
    ("EVP_DigestSign", _INT, [_POINTER, _POINTER, _SIZE_POINTER, ctypes.c_char_p, _SIZE]),
)


FILE_NAME = "host.key"
"""The key's file in the collector's state folder."""
_MAX_FILE_BYTES = 4096
_BEGIN, _END = "-----BEGIN PRIVATE KEY-----", "-----END PRIVATE KEY-----"
_HEAD = bytes.fromhex("302e020100300506032b657004220420")
"""The bytes before the key's 32: a PrivateKeyInfo with the algorithm Ed25519."""


class BadKeyFile(LannerError):
    """The file does not contain a usable key; the message gives the reason and the remedy."""


@dataclass(frozen=True, slots=True)
class HostIdentity:
    """This host as the fleet knows it."""

    host_id: str
    hostname: str
    version: str
    """The collector's version."""
    key: SigningKey

    def signature(self, topic: str, key: bytes, headers: Mapping[str, bytes], value: bytes) -> Headers:
        """Return the headers that prove which host sent a message. topic: full name. headers: the other ones."""
        content = signed_content(topic, key, headers, value)
        return [(KEY, self.key.public_key), (SIGNATURE, self.key.sign(BATCH_DOMAIN + content))]

    def announcement(self) -> tuple[bytes, bytes, Headers]:
        """Return key, value and headers of the message that announces this host's key."""
        value = encode_announcement(
            Announcement(
                host_id=self.host_id,
                hostname=self.hostname,
                public_key=self.key.public_key,
                announced=time.time_ns(),
                collector_version=self.version,
            )
        )
        # Another key under the same id must not displace this one in the topic.
        key = f"{self.host_id}\x1f{key_id(self.key.public_key)}".encode()
        signature = self.key.sign(HOST_DOMAIN + value)
        return key, value, [("content-type", b"application/json"), (SIGNATURE, signature)]


def host_key(path: Path) -> SigningKey:
    """Return this host's key; create it if there is none.

    Raises:
        BadKeyFile: the file contains no key, or other users may read or change it.
        EnvironmentUnsupported: nothing here can sign.
        OSError: the file can't be read or written.
    """
    try:
        return SigningKey(_read(path))
    except FileNotFoundError:
        seed = secrets.token_bytes(SEED_BYTES)
        key = SigningKey(seed)
        try:
            _write(path, seed)
        except FileExistsError:
            # Another process created it first, such as `lanner collector key` beside a starting collector.
            return SigningKey(_read(path))
        return key


def _read(path: Path) -> bytes:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    with os.fdopen(descriptor, "rb") as file:
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise BadKeyFile(f"{path}: not a regular file.")
        if status.st_uid not in (0, os.geteuid()) or status.st_mode & 0o077:
            raise BadKeyFile(f"{path}: others may read or change it: chown it to this user and chmod 600.")
        text = file.read(_MAX_FILE_BYTES).decode("ascii", "replace")
    body = text.strip().removeprefix(_BEGIN).removesuffix(_END)
    with suppress(Error, ValueError):
        data = b64decode("".join(body.split()), validate=True)
        if data.startswith(_HEAD) and len(data) == len(_HEAD) + SEED_BYTES:
            return data[len(_HEAD) :]
    raise BadKeyFile(
        f"{path}: not an Ed25519 private key. Restore it, or delete it: the next start makes a new key, which an "
        "operator has to enroll."
    )


def _write(path: Path, seed: bytes) -> None:
    """Write a new file atomically; raises FileExistsError if it exists by now."""
    text = f"{_BEGIN}\n{b64encode(_HEAD + seed).decode()}\n{_END}\n"
    # Synced: processors remember a key that a power cut erases here, and refuse the next one.
    write_atomically(path, [text.encode("ascii")], replaces=False, is_shared=True, is_synced=True)
