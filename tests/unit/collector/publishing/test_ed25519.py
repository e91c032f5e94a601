import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from collector.publishing.identity import SigningKey

RFC_8032 = [
    (
        "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
        "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
        "",
        (
            "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24"
            "655141438e7a100b"
        ),
    ),
    (
        "c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7",
        "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
        "af82",
        (
            "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc0"
            "27beceea1ec40a"
        ),
    ),
]
"""Secret key, public key, message, signature. Source: RFC 8032, section 7.1."""


@pytest.mark.parametrize(("secret", "public", "message", "signature"), RFC_8032)
def test_signatures_are_those_of_the_standard(secret: str, public: str, message: str, signature: str) -> None:
    """Byte for byte, with their public keys."""
    key = SigningKey(bytes.fromhex(secret))
    assert key.public_key.hex() == public
    assert key.sign(bytes.fromhex(message)).hex() == signature


def test_another_library_accepts_what_is_signed_here() -> None:
    """Messages of any size, one after another with one key."""
    seed = bytes(range(32))
    key, other = SigningKey(seed), Ed25519PrivateKey.from_private_bytes(seed)
    for size in (0, 1, 64, 100_000):
        message = bytes(size)
        other.public_key().verify(key.sign(message), message)


def test_a_key_of_another_length_is_refused() -> None:
    """Before OpenSSL reads past its end."""
    with pytest.raises(ValueError, match="32 bytes"):
        SigningKey(b"short")


def test_the_private_key_is_not_shown() -> None:
    """Printing it shows the public key."""
    seed = bytes(range(32))
    assert seed.hex() not in repr(SigningKey(seed))
