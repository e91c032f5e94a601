"""ClientHellos, as bytes that anyone may have made."""

import ssl
import struct
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collector.records.tls import MAX_BYTES, MAX_NAME, ClientHello, begins_hello, parse, written

LABEL = st.text("abcxyz019-_", min_size=1, max_size=63)
NAME = st.lists(LABEL, min_size=1, max_size=3).map(".".join)
KEY_SHARE, PADDING, GREASE, SERVER_NAME, TICKET = 51, 21, 0x3A3A, 0, 35


def extension(kind: int, contents: bytes, length: int | None = None) -> bytes:
    """Return an extension; length: of its contents, as it states it."""
    return struct.pack(">HH", kind, len(contents) if length is None else length) + contents


def names(*entries: tuple[int, bytes], length: int | None = None) -> bytes:
    """Return an extension with server names: the type and the bytes of each; length: of all, as it states it."""
    each = b"".join(struct.pack(">BH", kind, len(name)) + name for kind, name in entries)
    return extension(SERVER_NAME, struct.pack(">H", len(each) if length is None else length) + each)


def hello(*extensions: bytes, record: int = 1 << 14, size: int | None = None) -> bytes:
    """Return a hello. record: the most bytes of one record. size: of the message, as it states it."""
    listed = b"".join(extensions)
    body = b"\3\3" + bytes(range(32)) + b"\x20" + bytes(32) + struct.pack(">HHH", 4, 0x1301, GREASE) + b"\1\0"
    body += struct.pack(">H", len(listed)) + listed if extensions else b""
    message = b"\1" + (len(body) if size is None else size).to_bytes(3, "big") + body
    parts = [message[at : at + record] for at in range(0, len(message), record)]
    return b"".join(b"\x16\3\1" + struct.pack(">H", len(part)) + part for part in parts)


WWW = names((0, b"wWw.Example.org"))


@pytest.mark.parametrize(
    "extensions",
    [
        (WWW,),
        (extension(GREASE, b""), extension(TICKET, bytes(192)), WWW, extension(41, bytes(300))),
        (extension(KEY_SHARE, bytes(1258)), WWW, extension(PADDING, bytes(100))),
    ],
    ids=["alone", "ticket", "post-quantum"],
)
def test_a_hello_has_the_name_wherever_it_is(extensions: tuple[bytes, ...]) -> None:
    """In lower case; what other extensions contain doesn't matter."""
    assert parse(hello(*extensions)) == ClientHello("www.example.org", is_cut=False)


def test_a_hello_may_have_no_name() -> None:
    """Without extensions at all, or without this one."""
    assert parse(hello()) == parse(hello(extension(TICKET, b""))) == ClientHello(None, is_cut=False)


def test_the_real_library_writes_what_is_parsed() -> None:
    """OpenSSL, as Python has it, with both versions."""
    for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
        context = ssl.create_default_context()
        context.minimum_version = context.maximum_version = version
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        client = context.wrap_bio(incoming, outgoing, server_hostname="Real.example.org")
        with pytest.raises(ssl.SSLWantReadError):
            client.do_handshake()
        assert parse(outgoing.read()) == ClientHello("real.example.org", is_cut=False)


@pytest.mark.parametrize("record", [1, 3, 7, 100])
def test_a_hello_may_be_in_many_records(record: int) -> None:
    """As tools send it that hide names from filters in the network."""
    assert parse(hello(WWW, record=record)).server_name == "www.example.org"


def test_of_a_cut_hello_the_beginning_counts() -> None:
    """A name is known as soon as it is whole; until then the hello is cut, however long it claims to be."""
    data = hello(WWW, extension(KEY_SHARE, bytes(1258)))
    end = data.index(b"org") + 3

    assert all(parse(data[:at]) == ClientHello(None, is_cut=True) for at in range(1, end))
    assert {parse(data[:at]).server_name for at in range(end, len(data))} == {"www.example.org"}
    assert parse(hello(extension(TICKET, b""), size=0xFFFFFF)) == ClientHello(None, is_cut=False)


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        (b"a\0b.org", "a\\000b.org"),
        (b"UPPER.org.", "upper.org"),
        ("\u202egro.x".encode(), "\\226\\128\\174gro.x"),
        ("bücher.example".encode(), "b\\195\\188cher.example"),
        (b"\x1b[31m x", "\\027\\09131m\\032x"),
        (b"a..b", "a..b"),
        (b"192.0.2.1", "192.0.2.1"),
    ],
)
def test_a_name_of_any_bytes_is_shown_escaped(name: bytes, shown: str) -> None:
    """NUL, blanks, marks of direction and escapes reach neither terminal nor separator."""
    assert parse(hello(names((0, name)))).server_name == shown


def test_of_several_names_the_first_host_name_counts() -> None:
    """Servers refuse such a hello, but whoever hides a name may own the server as well."""
    assert parse(hello(names((7, b"x"), (0, b"first.org"), (0, b"second.org")))).server_name == "first.org"
    assert parse(hello(names((0, b"first.org")), names((0, b"second.org")))).server_name == "first.org"


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x17\3\3\0\1\0",
        b"\x16\2\1\0\1\1",
        b"\x16\3\1\0\0\1",
        b"\x16\3\1\xff\xff\1",
        hello(WWW)[:5] + b"\2" + hello(WWW)[6:],
        hello(names((0, b""))),
        hello(names((0, b"."))),
        hello(names((0, b"a" * (MAX_NAME + 1)))),
        hello(names((1, b"a"))),
        hello(extension(SERVER_NAME, b"")),
        hello(extension(SERVER_NAME, b"\0\x06\0\xff\xffabc")),
        hello(extension(SERVER_NAME, b"abc", length=65535)),
        hello(extension(TICKET, b"abc", length=65535), size=0xFFFFFF),
        hello(WWW, size=3),
    ],
)
def test_what_is_malformed_is_refused(data: bytes) -> None:
    """Lengths beyond what contains them, names that are none, other records."""
    with pytest.raises(ValueError, match=r"ClientHello|record|name|extension"):
        parse(data)


@settings(max_examples=100)
@given(NAME)
def test_what_a_test_of_a_rule_states_is_what_its_event_has(name: str) -> None:
    """Written and parsed, it is the same."""
    assert parse(written(name)) == ClientHello(name.lower(), is_cut=False)


@settings(max_examples=300)
@given(st.randoms(use_true_random=True), st.integers(0, 12), st.sampled_from([1, 5, 1 << 14]))
def test_no_bytes_do_harm(chance: Random, changes: int, record: int) -> None:
    """A hello with changed bytes has a name, none, or is refused; a name is printable and bounded."""
    whole = hello(extension(GREASE, b""), names((0, b"a.example"), (0, b"b.example")), record=record)
    data = bytearray(whole if chance.random() < 0.9 else b"\x16\3\1" + chance.randbytes(chance.randrange(MAX_BYTES)))
    for _ in range(changes):
        data[chance.randrange(len(data))] = chance.choice([0, 1, 0x16, 3, 0xFF, chance.randrange(256)])
    sent = bytes(data[: chance.randrange(len(data) + 1)])
    try:
        found = parse(sent)
    except ValueError:
        return
    assert begins_hello(sent)
    name = found.server_name
    assert name is None or (name.isprintable() and name.isascii() and " " not in name and len(name) <= 4 * MAX_NAME)
    assert name is None or not found.is_cut
