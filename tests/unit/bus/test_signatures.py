from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from bus.signatures import (
    RULES_DOMAIN,
    BadSigningKey,
    bare_public_key,
    key_id,
    read_private_key,
    read_public_key,
    sign,
    signer,
)
from tests.unit.processor.hosts.signing_hosts import WEAK_KEYS

KEY, OTHER = Ed25519PrivateKey.generate(), Ed25519PrivateKey.generate()


def test_only_the_key_that_signed_a_message_is_found() -> None:
    """A signature is invalid for another message, another key or with another length."""
    both = (OTHER.public_key(), KEY.public_key())
    signature = sign(KEY, RULES_DOMAIN, b"message")
    assert signer(both, signature, RULES_DOMAIN, b"message") == key_id(KEY.public_key())
    assert signer(both, signature, RULES_DOMAIN, b"messagf") == ""
    assert signer(both[:1], signature, RULES_DOMAIN, b"message") == ""
    assert signer(both, signature[:-1], RULES_DOMAIN, b"message") == ""
    assert signer(both, b"", RULES_DOMAIN, b"message") == ""
    assert signer((), signature, RULES_DOMAIN, b"message") == ""


def test_a_signature_of_the_bare_message_does_not_count() -> None:
    """A signature is invalid in another domain."""
    assert signer((KEY.public_key(),), KEY.sign(b"message"), RULES_DOMAIN, b"message") == ""


def test_a_signature_of_one_domain_does_not_count_in_another() -> None:
    """A host's signature is not valid for rules."""
    signature = sign(KEY, b"lanner batch\0", b"message")
    assert signer((KEY.public_key(),), signature, b"lanner batch\0", b"message")
    assert signer((KEY.public_key(),), signature, RULES_DOMAIN, b"message") == ""


def test_a_bare_key_is_read() -> None:
    """A raw key equals the PEM key, and other lengths are rejected."""
    assert key_id(bare_public_key(KEY.public_key().public_bytes_raw())) == key_id(KEY.public_key())
    with pytest.raises(BadSigningKey):
        bare_public_key(b"short")


@pytest.mark.parametrize("data", WEAK_KEYS)
def test_a_key_that_anyone_can_sign_for_is_refused(data: bytes, tmp_path: Path) -> None:
    """As bytes and in a file: rules that one signature fits would come from anybody."""
    with pytest.raises(BadSigningKey, match="anyone can sign"):
        bare_public_key(data)
    written = Ed25519PublicKey.from_public_bytes(data).public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    (tmp_path / "key.pem").write_bytes(written)
    with pytest.raises(BadSigningKey, match="anyone can sign"):
        read_public_key(tmp_path / "key.pem")


def test_keys_are_read_from_files(tmp_path: Path) -> None:
    """Keys that OpenSSL wrote are read, with and without a password."""
    private, public, locked = tmp_path / "key", tmp_path / "pub", tmp_path / "locked"
    pem, form = Encoding.PEM, PrivateFormat.PKCS8
    private.write_bytes(KEY.private_bytes(pem, form, NoEncryption()))
    locked.write_bytes(KEY.private_bytes(pem, form, BestAvailableEncryption(b"pass")))
    public.write_bytes(KEY.public_key().public_bytes(pem, PublicFormat.SubjectPublicKeyInfo))
    for key in (read_private_key(private), read_private_key(locked, "pass")):
        assert signer([read_public_key(public)], sign(key, RULES_DOMAIN, b"x"), RULES_DOMAIN, b"x") == key_id(
            KEY.public_key()
        )


def test_what_is_no_key_is_reported(tmp_path: Path) -> None:
    """An invalid key file gives a remedy, and never the file's contents."""
    path = tmp_path / "key"
    pem, form = Encoding.PEM, PrivateFormat.PKCS8
    locked = KEY.private_bytes(pem, form, BestAvailableEncryption(b"pass"))
    curve = ec.generate_private_key(ec.SECP256R1())
    for data, password, reason in (
        (b"secret", "", "not a private key"),
        (locked, "", "encrypted"),
        (locked, "wrong", "wrong password"),
        (KEY.private_bytes(pem, form, NoEncryption()), "pass", "not encrypted"),
        (curve.private_bytes(pem, form, NoEncryption()), "", "not an Ed25519 key"),
    ):
        path.write_bytes(data)
        with pytest.raises(BadSigningKey, match=reason):
            read_private_key(path, password)
    path.write_bytes(curve.public_key().public_bytes(pem, PublicFormat.SubjectPublicKeyInfo))
    with pytest.raises(BadSigningKey, match="not an Ed25519 key"):
        read_public_key(path)
    path.write_bytes(b"secret")
    with pytest.raises(BadSigningKey, match="not a public key"):
        read_public_key(path)
