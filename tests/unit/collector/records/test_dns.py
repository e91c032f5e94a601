"""Answers of name servers, as bytes that anyone may have made."""

import struct
from ipaddress import ip_address
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collector.records.dns import MAX_CHARACTERS, MAX_RECORDS, MAX_TEXTS, DnsAnswer, parse, written

LABEL = st.text("abcxyz019-_", min_size=1, max_size=63)
NAME = st.lists(LABEL, min_size=1, max_size=3).map(".".join)
ADDRESS = (
    st.ip_addresses().map(str).filter(lambda text: not ip_address(text).packed.startswith(b"\0" * 10 + b"\xff\xff"))
)
ANSWER = DnsAnswer("example.org", "A", "NOERROR", ("edge.example.net", "203.0.113.9"), ("203.0.113.9",), 60)
A, CNAME, TXT, AAAA = 1, 5, 16, 28
WWW = b"\3wWw\7eXample\3org\0"
"""At offset 12 of each message made here."""
ASKED = b"\xc0\x0c"


def message(*records: bytes, count: int | None = None, flags: int = 0x8180, question: bytes = WWW) -> bytes:
    """Return an answer to a question for an address; count: of the records, as the header states it."""
    head = struct.pack(">6H", 7, flags, 1, len(records) if count is None else count, 0, 0)
    return head + question + struct.pack(">2H", A, 1) + b"".join(records)


def record(owner: bytes, kind: int, contents: bytes, ttl: int = 300) -> bytes:
    """Return a record."""
    return owner + struct.pack(">2HIH", kind, 1, ttl, len(contents)) + contents


def only(data: bytes) -> DnsAnswer:
    """Return the answer in a message that has one."""
    found = parse(data)
    assert found is not None
    return found


def test_an_answer_has_the_name_asked_for_and_what_leads_to_its_addresses() -> None:
    """Names are in lower case, aliases are followed, and the shortest time to live counts."""
    edge = b"\4edge\xc0\x10"
    address = record(b"\xc0\x2d", A, b"\xcb\0\x71\x09", ttl=60)
    found = only(message(record(ASKED, CNAME, edge), address, record(b"\xc0\x2d", A, b"\xcb\0\x71\x0a")))

    assert found == DnsAnswer(
        "www.example.org",
        "A",
        "NOERROR",
        ("edge.example.org", "203.0.113.9", "203.0.113.10"),
        ("203.0.113.9", "203.0.113.10"),
        60,
    )
    assert found.text == "www.example.org A NOERROR edge.example.org 203.0.113.9 203.0.113.10"


def test_what_is_about_another_name_is_left_out() -> None:
    """Whoever answers for a name of their own can't add what another one's address is."""
    found = only(message(record(b"\4bank\xc0\x10", A, b"\6\6\6\6"), record(ASKED, TXT, b"\3x y")))

    assert (found.data, found.addresses, found.seconds) == ((), (), 0)


@pytest.mark.parametrize(
    ("label", "shown"),
    [
        (b"a b", "a\\032b"),
        (b"a\0b", "a\\000b"),
        (b"a.b\\", "a\\046b\\092"),
        ("\u202egro.x".encode(), "\\226\\128\\174gro\\046x"),
        (b"\x1b[31m", "\\027\\09131m"),
        (b"_SRV-1", "_srv-1"),
    ],
)
def test_a_name_of_any_bytes_is_shown_escaped(label: bytes, shown: str) -> None:
    """Blanks, dots inside of a label, NUL, marks of direction and escapes reach neither terminal nor separator."""
    assert only(message(question=bytes([len(label)]) + label + b"\3org\0")).name == f"{shown}.org"


@pytest.mark.parametrize(
    "name",
    [
        ASKED,
        b"\1a\xc0\x0c",
        b"\xc0\x0e\xc0\x0c",
        b"\xc0\xff",
        b"\xff\xff",
        b"\x7fabc\0",
        b"\x40" + b"a" * 64 + b"\0",
        (b"\x3f" + b"a" * 63) * 4 + b"\0",
        b"\3ab",
    ],
    ids=["itself", "after a label", "in a circle", "beyond", "forward", "reserved", "label", "name", "cut"],
)
def test_a_name_that_is_none_is_refused(name: bytes) -> None:
    """Pointers lead back only, and lengths are limited."""
    with pytest.raises(ValueError, match=r"pointer|too long|cut"):
        parse(message(question=name))


def test_a_long_chain_of_pointers_ends_the_answer() -> None:
    """Otherwise each record could have the same chain followed again."""
    start = len(message()) + len(record(ASKED, TXT, b""))
    chain = b"".join(struct.pack(">H", 0xC000 | (start + 2 * index - 2 if index else 12)) for index in range(17))
    short, long = (struct.pack(">H", 0xC000 | start + 2 * index) for index in (14, 16))
    found = only(message(record(ASKED, TXT, chain), record(short, A, b"\1\1\1\1"), record(long, A, b"\2\2\2\2")))

    assert (found.addresses, found.is_cut) == (("1.1.1.1",), True)


@pytest.mark.parametrize("flags", [0x0100, 0x8180 | 0x2800])
def test_questions_and_other_operations_are_no_answers(flags: int) -> None:
    """A server that asks from port 53 receives questions as well."""
    assert parse(message(flags=flags)) is None


def test_codes_and_types_without_a_common_name_are_numbers() -> None:
    """A refusal, and what was assigned since."""
    data = message(flags=0x818F)
    assert (only(message(flags=0x8183)).code, only(data).code) == ("NXDOMAIN", "RCODE15")
    assert only(data[:-4] + struct.pack(">2H", 65280, 1)).type == "TYPE65280"


def test_of_65535_records_the_first_are_read() -> None:
    """Whatever the header promises."""
    each = record(ASKED, A, b"\1\2\3\4")

    few, many = only(message(each, count=65535)), only(message(*[each] * 1000, count=65535))
    others = only(message(*[record(b"\1x\0", A, b"\1\2\3\4")] * 1000))

    assert (few.addresses, few.is_cut) == (("1.2.3.4",), True)
    assert (len(many.addresses), many.is_cut) == (MAX_TEXTS, True)
    assert (others.addresses, others.is_cut, MAX_RECORDS < 1000) == ((), True, True)


def test_of_a_cut_answer_the_whole_records_count() -> None:
    """The collector receives the first kilobyte."""
    data = message(record(ASKED, A, b"\1\2\3\4"), record(ASKED, A, b"\5\6\7\x08"))

    assert only(data[:-1]).addresses == ("1.2.3.4",)
    assert [only(data[:end]).is_cut for end in (len(data) - 1, len(data))] == [True, False]
    with pytest.raises(ValueError, match="cut in a name"):
        parse(data[:20])


@settings(max_examples=200)
@given(NAME, st.sampled_from(["A", "AAAA", "TXT"]), st.lists(st.one_of(NAME, ADDRESS), max_size=6))
def test_what_a_test_of_a_rule_states_is_what_its_event_has(name: str, kind: str, data: list[str]) -> None:
    """Written and parsed, it is the same."""
    data = [text.lower() for text in data]
    found = only(written(DnsAnswer(name.lower(), kind, "NOERROR", tuple(data), seconds=5)))

    assert (found.name, found.type, found.code, found.data) == (name.lower(), kind, "NOERROR", tuple(data))


@settings(max_examples=300)
@given(st.randoms(use_true_random=True), st.integers(0, 12))
def test_no_bytes_do_harm(chance: Random, changes: int) -> None:
    """A message with changed bytes is an answer, none, or an error; what it has is printable and bounded."""
    data = bytearray(written(ANSWER) if chance.random() < 0.9 else chance.randbytes(chance.randrange(1024)))
    for _ in range(changes if data else 0):
        data[chance.randrange(len(data))] = chance.choice([0, 1, 0x3F, 0xC0, 12, chance.randrange(256)])
    try:
        found = parse(bytes(data[: chance.randrange(len(data) + 1)]))
    except ValueError:
        return
    if found is not None:
        words = found.text.split(" ")
        assert found.text.isascii()
        assert found.text.isprintable()
        assert len(words) == 3 + len(found.data) <= 3 + MAX_TEXTS
        assert max(map(len, words)) <= 4 * 255


def test_the_longest_names_of_all_records_are_read_once_or_not_at_all() -> None:
    """Each label costs time, and a name of 126 of them fits into the two bytes of a pointer."""
    longest, address = b"\1a" * 126 + b"\0", b"\1\2\3\4"
    alike = message(*[record(ASKED, A, address)] * 40, question=longest)
    owners = [struct.pack(">H", 0xC000 | 12 + 2 * number) for number in range(40)]
    each = message(*[record(owner, A, address) for owner in owners], question=longest)

    assert len(only(alike).data) == MAX_TEXTS
    assert only(each).data == ("1.2.3.4",)
    assert only(each).is_cut


def test_aliases_that_lead_in_a_circle_or_are_long_are_bounded() -> None:
    """Each is followed as often as there are records; an alias is as long as a name, and its bytes are escaped."""
    here, there = b"\1a\xc0\x0c", b"\1b\xc0\x0c"
    circle = [record(ASKED, CNAME, here), *[record(here, CNAME, there), record(there, CNAME, here)] * 20]
    long = (b"\x3f" + b"\xff" * 63) * 3 + b"\0"
    again = message(record(ASKED, CNAME, long), *[record(b"\xc0\x3d", CNAME, b"\xc0\x3d")] * 40, question=WWW)
    at = again.index(long)
    again = again.replace(b"\xc0\x3d", struct.pack(">H", 0xC000 | at))

    assert len(only(message(*circle)).data) == MAX_TEXTS
    assert MAX_CHARACTERS <= sum(map(len, only(again).data)) < MAX_CHARACTERS + 4 * 255
    assert only(again).is_cut


@pytest.mark.parametrize(("ttl", "seconds"), [(0, 0), (60, 60), (86_401, 86_400), (2**31 - 1, 86_400), (2**31, 0)])
def test_a_time_to_live_is_at_most_a_day_and_none_if_it_is_no_valid_one(ttl: int, seconds: int) -> None:
    """RFC 2181, section 8: values from 2^31 on count as 0."""
    assert only(message(record(ASKED, A, b"\1\2\3\4", ttl=ttl))).seconds == seconds
