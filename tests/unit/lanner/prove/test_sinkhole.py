import struct

import pytest

from lanner.prove.sinkhole import dns_reply

_NAME = b"\7example\3org\0"


def _query(name: bytes, kind: int) -> bytes:
    return b"\x12\x34\x01\x20\0\1\0\0\0\0\0\1" + name + struct.pack(">HH", kind, 1) + b"\0\0\x29\x10\0\0\0\0\0\0\0"


@pytest.mark.parametrize(
    ("name", "address"), [(_NAME, b"\xcb\0\x71\x0a"), (b"\x08Metadata\x06google\x08internal\0", b"\xa9\xfe\xa9\xfe")]
)
def test_every_name_has_an_address(name: bytes, address: bytes) -> None:
    """Names of metadata services have the usual one; the id and the question are those of the query."""
    reply = dns_reply(_query(name, 1))
    assert reply is not None
    assert reply.startswith(b"\x12\x34\x81\x80\0\1\0\1\0\0\0\0" + name)
    assert reply.endswith(address)


def test_other_records_have_no_answer_and_addresses_no_name() -> None:
    """A resolver goes on with IPv4, and a scanner doesn't ask again."""
    assert (dns_reply(_query(_NAME, 28)) or b"")[3:8] == b"\x80\0\1\0\0"
    assert (dns_reply(_query(_NAME, 12)) or b"")[3:8] == b"\x83\0\1\0\0"


@pytest.mark.parametrize("data", [b"", b"\0" * 12, _query(_NAME, 1)[:20], b"\xff" * 300, _query(b"\x3fa", 1)])
def test_what_is_no_query_gets_no_reply(data: bytes) -> None:
    """A question that ends early is no question."""
    assert dns_reply(data) is None
