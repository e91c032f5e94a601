import itertools

import pytest

from foundation.throttling import RateLimit
from processor.hosts.identity import (
    MOST_HOSTS,
    NEW_AT_ONCE,
    NEW_PER_SECOND,
    NOT_VERIFIED,
    KnownHosts,
    RejectedBatches,
    RejectedMessage,
)
from processor.matching.pre_match import QUIET
from schemas.host_keys import HostKey, State, encode_host_key

POSITION = ("t.events", 3, 17)

ONE, TWO = b"\2" * 32, b"\1" * 32


def rejected(host: str = "web-1", outcome: str = "bad_signature", *, known: bool = True) -> RejectedMessage:
    """Return why a batch was rejected."""
    return RejectedMessage(host, "its signature by key 00ff is wrong", outcome, is_known=known)


def test_a_batch_under_a_known_hosts_id_is_notified_of_that_host() -> None:
    """With its name, the reason and the place, so that the same message always makes the same alert."""
    cause, notice = RejectedBatches().notice(rejected(), POSITION, "web.example", 5)
    assert (cause.host_id, cause.hostname, cause.time, cause.batch) == ("web-1", "web.example", 5, POSITION)
    assert (notice.kind, notice.priority, notice.numbers) == (NOT_VERIFIED, "Critical", {"batches": 1})
    assert notice.text == ("a batch with the id of host web-1 was rejected: its signature by key 00ff is wrong")


def test_what_enrolling_can_mend_suggests_it() -> None:
    """Only where the key is the question."""
    for outcome, says_so in (("other_key", True), ("not_enrolled", True), ("bad_signature", False)):
        _, notice = RejectedBatches().notice(rejected(outcome=outcome), POSITION, "", 5)
        assert ("lanner hosts enroll" in notice.text) == says_so


def test_ids_that_are_made_up_are_reported_together() -> None:
    """However many there are: none of them has an alert of its own, and the newest is named."""
    batches = RejectedBatches()
    found = [batches.notice(rejected(f"made-up-{n}", known=False), POSITION, "x", 5) for n in range(1000)]
    assert {cause.host_id for cause, _ in found} == {""}
    assert {notice.priority for _, notice in found} == {"Warning"}
    assert "made-up-999" in found[-1][1].text


def test_forging_every_host_of_a_fleet_makes_no_flood_of_alerts() -> None:
    """The first hosts have alerts of their own, and go on having them; the others share one until it is quiet again."""
    batches = RejectedBatches()

    def about(number: int, at: int) -> str:
        return batches.notice(rejected(f"web-{number}"), POSITION, "", at)[0].host_id

    assert [about(number, 0) for number in range(MOST_HOSTS)] == [f"web-{number}" for number in range(MOST_HOSTS)]
    assert {about(number, 1) for number in range(MOST_HOSTS, 1000)} == {""}
    assert about(3, QUIET - 1) == "web-3"
    assert about(MOST_HOSTS, QUIET) == f"web-{MOST_HOSTS}"
    assert about(3, QUIET) == "web-3"


def record(key: bytes, state: State = "pinned", host: str = "web-1") -> HostKey:
    """Return a decision."""
    return HostKey(host, state, key, 5, "p-1")


def pin(known: KnownHosts, made: HostKey) -> HostKey | None:
    """Simulate the arrival of a pin from its topic."""
    return known.take_pin(made.host_id.encode(), encode_host_key(made))


def decide(known: KnownHosts, made: HostKey) -> str:
    """Simulate the arrival of an operator's decision from its topic."""
    return known.take_decision(made.host_id.encode(), encode_host_key(made))


def key_of(known: KnownHosts, host: str = "web-1") -> bytes | None:
    """Return the key that counts."""
    found = known.find(host)
    return None if found is None else found.public_key


def test_of_two_processors_that_pin_at_once_the_first_in_the_topic_is_right_for_both() -> None:
    """Each believed in its own until the topic had both; the loser's record is to be covered by the winner's again."""
    first, second = KnownHosts(), KnownHosts()
    first.claim(record(ONE))
    second.claim(record(TWO))
    for known in (first, second):
        assert pin(known, record(ONE)) is None
        repeated = pin(known, record(TWO))
        assert repeated is not None
        assert repeated.public_key == ONE
        assert key_of(known) == ONE
        # What covers it is the same word once more.
        assert pin(known, repeated) is None
    fresh = KnownHosts()
    pin(fresh, record(ONE))
    assert fresh.find("web-1") == first.find("web-1") == second.find("web-1")


def test_an_operators_decision_overrides_pins_whatever_came_first() -> None:
    """In every order of the topics, which nothing orders among each other."""
    steps = [(pin, record(ONE)), (decide, record(TWO, "enrolled"))]
    for order in itertools.permutations(steps):
        known = KnownHosts()
        for step, made in order:
            step(known, made)
        assert key_of(known) == TWO
        assert known.find("web-1", pins=False) is not None


def test_the_newest_decision_of_an_operator_counts() -> None:
    """A host is reinstalled, revoked and enrolled again; forgotten, its pin counts, and then nothing."""
    known = KnownHosts()
    pin(known, record(ONE))
    for made in (record(TWO, "enrolled"), record(TWO, "revoked"), record(ONE, "enrolled")):
        decide(known, made)
        found = known.find("web-1")
        assert found is not None
        assert (found.state, found.public_key) == (made.state, made.public_key)
    known.take_decision(b"web-1", None)
    found = known.find("web-1")
    assert found is not None
    assert found.state == "pinned"
    known.take_pin(b"web-1", None)
    assert known.find("web-1") is None
    assert known.everything() == {}


@pytest.mark.parametrize("state", ["enrolled", "revoked"])
def test_whoever_may_write_pins_only_can_neither_enroll_nor_revoke(state: State) -> None:
    """A processor that is taken over can't speak for operators."""
    known = KnownHosts()
    pin(known, record(ONE))
    pin(known, record(TWO, state))
    assert key_of(known) == ONE
    assert pin(KnownHosts(), record(TWO, state)) is None


def test_a_record_under_another_hosts_key_does_not_count() -> None:
    """Nor do invalid bytes, nor a pin among operators' decisions; each is reported."""
    known = KnownHosts()
    decide(known, record(ONE, "enrolled"))
    assert "another host" in known.take_decision(b"web-2", encode_host_key(record(TWO, "enrolled")))
    assert "not JSON" in known.take_decision(b"web-1", b"nonsense")
    assert "'pinned'" in known.take_decision(b"web-1", encode_host_key(record(TWO)))
    assert key_of(known) == ONE
    assert key_of(known, "web-2") is None


def test_rubbish_over_a_pin_is_covered_again() -> None:
    """It would be all that compaction leaves."""
    known = KnownHosts()
    pin(known, record(ONE))
    repeated = known.take_pin(b"web-1", b"nonsense")
    assert repeated is not None
    assert repeated.public_key == ONE


def test_no_known_host_is_given_up_for_a_new_one() -> None:
    """Beyond the bound new ones are left out, and changes to known ones still count."""
    known = KnownHosts(limit=2)
    for number in range(5):
        pin(known, record(ONE, host=f"h{number}"))
        reported = decide(known, record(ONE, "enrolled", host=f"e{number}"))
        assert bool(reported) == (number >= 2)
    assert [key_of(known, f"h{number}") for number in range(3)] == [ONE, ONE, None]
    assert known.is_full
    assert decide(known, record(TWO, "enrolled", host="e1")) == ""
    assert key_of(known, "e1") == TWO


def test_a_fleet_may_start_at_once_and_a_flood_may_not_go_on() -> None:
    """The burst, then so many a second."""
    new = RateLimit[None](NEW_PER_SECOND, NEW_AT_ONCE)
    assert sum(new.take(None, 0.0) for _ in range(20_000)) == 10_000
    assert sum(new.take(None, 10.0) for _ in range(500)) == 100
    assert sum(new.take(None, 1e6) for _ in range(20_000)) == 10_000
