"""Ed25519 signatures through the OpenSSL that this Python has already loaded for its hashes.

The collector only needs to sign, and its memory is limited: PyNaCl takes 1.1 MiB, the `cryptography` package 7.7 MiB,
this 0.1 MiB.

Source: OpenSSL's manual, EVP_PKEY_new(3), EVP_DigestSignInit(3) and EVP_SIGNATURE-ED25519(7); all since 1.1.1.
"""

import ctypes
import importlib
from functools import cache
from typing import Any

from collector.errors import EnvironmentUnsupported

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
