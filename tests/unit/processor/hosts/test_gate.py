from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bus.messages import CLOCK, KEY, SENT, SIGNATURE
from processor.hosts.identity import EventsMessage, IdentityGate, KnownHosts, Mode, RejectedMessage, VerifiedMessage
from schemas.host_keys import HostKey, encode_host_key, key_id
from tests.unit.processor.hosts.signing_hosts import APPENDED, PARTITIONS, TOPIC, WEAK_KEYS, SigningHost

WEB, EVIL = SigningHost("web-1", 1), SigningHost("evil-1", 2)
FORGED = SigningHost("web-1", 2)
"""The hostile host, under the id of another."""


def gate_of(mode: Mode, *decided: HostKey, pinned: tuple[HostKey, ...] = (), limit: int = 100) -> IdentityGate:
    """Return a gate that knows some hosts; its clock stands still."""
    known = KnownHosts(limit)
    for record in decided:
        assert known.take_decision(record.host_id.encode(), encode_host_key(record)) == ""
    for record in pinned:
        assert known.take_pin(record.host_id.encode(), encode_host_key(record)) is None
    return IdentityGate(mode, TOPIC, PARTITIONS, known, clock=lambda: 0.0, worker="p-1")


def header(message: EventsMessage, name: str, value: Any) -> EventsMessage:
    """Return a message with another header; None takes it away."""
    stored = [(each, old) for each, old in message.headers if each != name]
    return replace(message, headers=stored if value is None else [*stored, (name, value)])


def outcome(gate: IdentityGate, message: EventsMessage, host_id: str) -> str:
    """Return what became of a message whose batch claims to be from a host."""
    checked = gate.check(message)
    if isinstance(checked, RejectedMessage):
        return checked.outcome
    disagreement = gate.agree(checked, host_id)
    if disagreement is not None:
        return disagreement.outcome
    if checked.pin is not None:
        gate.known.claim(checked.pin)
    return "verified" if checked.is_verified else "unsigned"


def test_a_host_is_believed_by_its_enrolled_key() -> None:
    """And nothing is to be pinned."""
    gate = gate_of("enrolled", WEB.record())
    assert gate.check(WEB.message()) == VerifiedMessage("web-1", is_verified=True)
    assert outcome(gate, WEB.message(), "web-1") == "verified"


def test_the_first_key_of_a_host_is_pinned_and_no_other_counts_afterwards() -> None:
    """The pin records who, when and by whom; a later forger is reported with both keys."""
    gate = gate_of("trust_on_first_use")
    checked = gate.check(WEB.message())
    assert checked == VerifiedMessage(
        "web-1", is_verified=True, pin=HostKey("web-1", "pinned", WEB.public_key, APPENDED, "p-1")
    )
    assert outcome(gate, WEB.message(), "web-1") == "verified"
    rejected = gate.check(FORGED.message())
    assert isinstance(rejected, RejectedMessage)
    assert rejected.reason == (
        f"it is signed with key {EVIL.public_key.hex()}, and host web-1 has the key {key_id(WEB.public_key)}"
    )
    assert (rejected.host_id, rejected.outcome, rejected.is_known) == ("web-1", "other_key", True)


@pytest.mark.parametrize("mode", ["trust_on_first_use", "enrolled"])
@pytest.mark.parametrize(
    ("forged", "expected"),
    [
        pytest.param(FORGED.message(), "other_key", id="with its own key"),
        pytest.param(header(FORGED.message(), KEY, WEB.public_key), "bad_signature", id="saying the host's key"),
        pytest.param(replace(WEB.message(), value=b"other"), "bad_signature", id="another batch with an old signature"),
        pytest.param(header(WEB.message(), SENT, b"8"), "bad_signature", id="another time of sending"),
        pytest.param(header(WEB.message(), CLOCK, b"9"), "bad_signature", id="a clock that was not signed"),
        pytest.param(WEB.message(topic="u.events"), "bad_signature", id="from another fleet"),
        pytest.param(replace(WEB.message(), partition=7), "partition", id="replayed into another partition"),
        pytest.param(replace(WEB.message(), headers=[]), "not_signed", id="without a signature"),
        pytest.param(header(WEB.message(), SIGNATURE, None), "bad_form", id="without half of it"),
        pytest.param(header(WEB.message(), KEY, None), "bad_form", id="without the other half"),
        pytest.param(header(WEB.message(), SIGNATURE, b"x" * 65), "bad_form", id="with a long signature"),
        pytest.param(header(WEB.message(), KEY, b"x" * 10**6), "bad_form", id="with a huge key"),
        pytest.param(header(WEB.message(), SENT, b"1" * 10**6), "bad_form", id="with a huge time"),
        pytest.param(header(WEB.message(), KEY, "text"), "bad_form", id="with a header of another type"),
        pytest.param(header(WEB.message(), SIGNATURE, bytes(64)), "bad_signature", id="with zeros"),
        pytest.param(replace(WEB.message(), key=b"evil-1"), "", id="under the forger's own id"),
    ],
)
def test_nobody_speaks_for_another_host(mode: Mode, forged: EventsMessage, expected: str) -> None:
    """Whatever is put together of what an honest host sent, what a hostile one can sign, and nothing at all."""
    gate = gate_of(mode, WEB.record(), EVIL.record())
    assert outcome(gate, forged, "web-1") == (expected or "other_key")
    assert outcome(gate, WEB.message(), "web-1") == "verified"
    assert gate.outcomes == {expected or "other_key": 1, "verified": 1}


def test_a_batch_must_contain_the_id_that_signed_it() -> None:
    """A hostile host signs, under its own id, a batch that claims to be from another."""
    gate = gate_of("trust_on_first_use", WEB.record(), EVIL.record())
    assert outcome(gate, EVIL.message(), "web-1") == "other_id"
    fresh = SigningHost("fresh-1", 9)
    assert outcome(gate, fresh.message(), "web-1") == "other_id"
    assert gate.known.find("fresh-1") is None


def test_in_an_enrolled_fleet_nobody_counts_who_was_not_enrolled() -> None:
    """Signed or not, pinned or not; the reason contains the whole key, so that it can be enrolled."""
    gate = gate_of("enrolled", pinned=(WEB.record("pinned"),))
    rejected = gate.check(WEB.message())
    assert isinstance(rejected, RejectedMessage)
    assert rejected.outcome == "not_enrolled"
    assert WEB.public_key.hex() in rejected.reason
    assert not rejected.is_known
    assert outcome(gate, replace(WEB.message(), headers=[]), "web-1") == "not_signed"


def test_collectors_of_a_former_release_are_heard_until_their_hosts_sign() -> None:
    """During an upgrade a host has no key yet; from its first signature on nothing unsigned counts."""
    gate = gate_of("trust_on_first_use")
    old = replace(WEB.message(), headers=[(SENT, b"7")])
    assert outcome(gate, old, "web-1") == "unsigned"
    assert outcome(gate, WEB.message(), "web-1") == "verified"
    assert outcome(gate, old, "web-1") == "not_signed"
    assert outcome(gate, replace(old, key=b"nobody"), "web-1") == "not_signed"
    assert outcome(gate, replace(old, key=None), "web-1") == "bad_id"


def test_a_revoked_host_is_not_heard_under_any_key() -> None:
    """Not by its old key, not by a new one, not unsigned: only an operator lets it in again."""
    gate = gate_of("trust_on_first_use", WEB.record("revoked"), pinned=(WEB.record("pinned"),))
    for message in (WEB.message(), FORGED.message(), replace(WEB.message(), headers=[])):
        assert outcome(gate, message, "web-1") == "revoked"
    unsigned = replace(WEB.message(), headers=[], key=b"other")
    assert outcome(gate, unsigned, "web-1") == "not_signed"


@pytest.mark.parametrize("key", [None, b"", b"\xff", b"x" * 257])
def test_an_id_that_no_host_has_is_refused(key: bytes | None) -> None:
    """Before anything else is looked at."""
    assert outcome(gate_of("trust_on_first_use"), replace(WEB.message(), key=key), "web-1") == "bad_id"


def test_known_hosts_are_heard_where_there_is_no_room_for_new_ones() -> None:
    """A hostile host that makes up others fills the room up to its bound and pushes nobody out."""
    gate = gate_of("trust_on_first_use", pinned=(WEB.record("pinned"),), limit=5)
    made_up = [SigningHost(f"made-up-{number}", 3) for number in range(10)]
    outcomes = [outcome(gate, each.message(), each.host_id) for each in made_up]
    assert outcomes == ["verified"] * 4 + ["too_many"] * 6
    assert outcome(gate, WEB.message(), "web-1") == "verified"


@pytest.mark.parametrize("key", WEAK_KEYS)
def test_a_key_that_anyone_can_sign_for_is_pinned_for_no_host(key: bytes) -> None:
    """One signature is valid for every batch, with some of these keys."""
    message = header(header(WEB.message(), KEY, key), SIGNATURE, bytes([1, *bytes(63)]))
    gate = gate_of("trust_on_first_use")
    assert outcome(gate, message, "web-1") == "bad_signature"
    assert outcome(gate, WEB.message(), "web-1") == "verified"


def test_a_batch_that_was_evaluated_before_takes_nobody_in() -> None:
    """Looking back counts nothing."""
    gate = gate_of("trust_on_first_use")
    assert isinstance(gate.examine(WEB.message()), VerifiedMessage)
    assert isinstance(gate.examine(replace(WEB.message(), value=b"x")), RejectedMessage)
    assert gate.outcomes == {}


_TEXT = st.text("abcdefgh", max_size=3)


@given(
    partition=st.integers(-1, 9),
    key=st.sampled_from([b"web-1", b"evil-1", b"", None]) | st.binary(max_size=300),
    headers=st.lists(
        st.tuples(
            st.sampled_from([KEY, SIGNATURE, SENT, CLOCK, "x"]),
            st.sampled_from([WEB.public_key, EVIL.public_key, dict(WEB.message().headers)[SIGNATURE], b"7", None])
            | st.binary(max_size=70),
        ),
        max_size=6,
    ),
    value=st.sampled_from([b"batch", b""]) | st.binary(max_size=20),
)
def test_no_message_makes_it_raise_or_passes_for_a_known_host(
    partition: int, key: bytes | None, headers: list[tuple[str, object]], value: bytes
) -> None:
    """Whatever a hostile host puts together; what an honest one sent is the one exception."""
    gate = gate_of("trust_on_first_use", WEB.record())
    checked = gate.check(EventsMessage(partition, key, headers, value, APPENDED))
    if isinstance(checked, VerifiedMessage) and checked.host_id == "web-1":
        assert (key, value, dict(headers)[SENT]) == (b"web-1", b"batch", b"7")
