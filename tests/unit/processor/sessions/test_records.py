import json

import pytest

from processor.sessions.records import (
    BadSessionRecord,
    CommandRequest,
    Person,
    PersonsProcess,
    SessionRecord,
    SshLogin,
    decode_session,
    encode_session,
)

EVE = Person("eve", ("192.0.2.7",), ("dev", "ops"), "sh -c id", "SHA256:abc")
RECORDS: tuple[SessionRecord, ...] = (
    CommandRequest("id", 1, "prod", "web", None, "hash", EVE),
    PersonsProcess("host-1", 7, 2, 3, "prod", "web", "id", Person("\udcff\n")),
    SshLogin("", "web-1", 7, 3, EVE),
)


@pytest.mark.parametrize("record", RECORDS)
def test_a_record_is_read_as_it_was_written(record: SessionRecord) -> None:
    """Also texts that are not valid Unicode."""
    key, value = encode_session(record)

    assert decode_session(value) == record
    assert key.split(b"/")[0] in (b"request", b"process", b"login")


@pytest.mark.parametrize(
    "change",
    [
        {"kind": "other"},
        {"kind": []},
        {"time": -1},
        {"time": 1 << 63},
        {"time": True},
        {"pid": "7"},
        {"hostname": None},
        {"machine": "x" * 2000},
        {"person": {}},
        {"person": {"user": "eve", "addresses": "192.0.2.7"}},
        {"person": {"user": "eve", "groups": ["g"] * 100}},
        {"person": {"user": "e" * 300}},
        {"more": "x" * 70_000},
    ],
)
def test_what_is_no_record_is_refused(change: dict[str, object]) -> None:
    """Types, ranges and lengths are checked."""
    row = json.loads(encode_session(RECORDS[2])[1]) | change

    with pytest.raises(BadSessionRecord):
        decode_session(json.dumps(row).encode())


def test_long_texts_of_a_person_are_cut() -> None:
    """Users choose commands and the names of their groups."""
    person = Person("u" * 999, ("a" * 999,) * 99, ("g" * 999,) * 99, "c" * 9999, "k" * 999).clipped()

    assert [len(each) for each in (person.user, person.addresses, person.groups, person.command)] == [256, 8, 32, 1024]
    assert decode_session(encode_session(SshLogin("", "h", 1, 1, person))[1]).person == person


def test_alerts_carry_what_is_known_of_a_person() -> None:
    """A login has no groups, a request no key."""
    assert Person("eve").fields() == {"session.user": "eve"}
    assert EVE.fields()["session.key"] == "SHA256:abc"
