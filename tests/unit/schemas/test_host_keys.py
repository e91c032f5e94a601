import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.host_keys import (
    BadHostKey,
    check_host_id,
    decode_announcement,
    decode_host_key,
    encode_announcement,
    encode_host_key,
    parse_public_key,
)
from tests.golden.messages import golden_message, host_announcement_0_1, host_key_0_1
from tests.unit.processor.hosts.signing_hosts import WEAK_KEYS


def test_what_a_release_wrote_reads_as_it_was() -> None:
    """Decisions and announcements survive a round trip."""
    assert decode_host_key(golden_message("host_key-0.1")) == host_key_0_1()
    assert decode_announcement(golden_message("host_announcement-0.1")) == host_announcement_0_1()


def test_what_is_not_known_is_left_out() -> None:
    """A reader ignores fields that a later release added."""
    row = json.loads(golden_message("host_key-0.1")) | {"added": [1]}
    assert decode_host_key(json.dumps(row).encode()) == host_key_0_1()


def test_only_a_revoked_host_may_be_without_a_key() -> None:
    """A host id can be revoked before its key is known."""
    revoked = replace(host_key_0_1(), state="revoked", public_key=b"")
    assert decode_host_key(encode_host_key(revoked)) == revoked
    with pytest.raises(BadHostKey, match="not a public key"):
        encode_host_key(replace(revoked, state="enrolled"))


@pytest.mark.parametrize("key", WEAK_KEYS)
def test_a_key_that_anyone_can_sign_for_is_none(key: bytes) -> None:
    """Neither on the command line, which enrolls it, nor in records of former releases."""
    with pytest.raises(BadHostKey, match="anyone can sign"):
        parse_public_key(key.hex())
    with pytest.raises(BadHostKey, match="anyone can sign"):
        encode_host_key(replace(host_key_0_1(), public_key=key))


@pytest.mark.parametrize(
    "change",
    [
        {"state": "trusted"},
        {"state": ["pinned"]},
        {"host_id": ""},
        {"host_id": "x" * 257},
        {"host_id": "\ud800"},
        {"host_id": 7},
        {"public_key": "00"},
        {"public_key": "zz" * 32},
        {"public_key": None},
        {"since": -1},
        {"since": 2**63},
        {"since": True},
        {"since": "1"},
        {"by": "x" * 257},
    ],
)
def test_a_record_that_no_honest_writer_makes_is_refused(change: dict[str, Any]) -> None:
    """Invalid records raise BadHostKey with a reason, and nothing else."""
    row = json.loads(golden_message("host_key-0.1")) | change
    with pytest.raises(BadHostKey):
        decode_host_key(json.dumps(row).encode())


@pytest.mark.parametrize("decode", [decode_host_key, decode_announcement])
@given(
    data=st.binary()
    | st.recursive(st.none() | st.text() | st.integers(), st.lists).map(lambda x: json.dumps(x).encode())
)
def test_no_bytes_make_it_raise_anything_else(decode: Callable[[bytes], object], data: bytes) -> None:
    """Arbitrary bytes raise only BadHostKey."""
    with pytest.raises(BadHostKey):
        decode(data)


def test_what_is_too_large_or_too_deep_is_refused() -> None:
    """Oversized records are rejected before they are parsed."""
    for data in (b"[" * 4000, b'{"host_id":"' + b"x" * 5000):
        with pytest.raises(BadHostKey):
            decode_announcement(data)


def test_a_long_host_name_is_cut_and_not_refused() -> None:
    """A long host name is clipped."""
    said = replace(host_announcement_0_1(), hostname="x" * 1000)
    assert decode_announcement(encode_announcement(said)).hostname == "x" * 256


def test_keys_are_taken_as_people_copy_them() -> None:
    """Surrounding blanks and uppercase digits are accepted."""
    assert parse_public_key(f" {'AB' * 32}\n") == b"\xab" * 32
    with pytest.raises(BadHostKey, match="64 hexadecimal digits"):
        parse_public_key("ssh-ed25519 AAAA")


def test_ids_are_bounded_in_bytes() -> None:
    """The limit counts bytes, not characters."""
    check_host_id("ü" * 128)
    with pytest.raises(BadHostKey, match="258 bytes"):
        check_host_id("ü" * 129)
