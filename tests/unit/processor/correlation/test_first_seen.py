"""Values that are remembered briefly and packed answer as an oracle that keeps every sighting."""

from hypothesis import given, settings
from hypothesis import strategies as st

from processor.correlation.first_seen import Sightings
from processor.correlation.first_seen_group import Sighting
from processor.correlation.groups import SeenEntry, decode_record, encode_entry
from processor.correlation.windows import UpdateOutcome
from processor.matching.pre_match import PARTS, Span
from processor.matching.shares import host_of, share_of
from tests.unit.processor.correlation import oracles

SECOND = 1_000_000_000
LOOKBACK, LEARNING, MOST = 10 * PARTS, 100, 4
SLACK = 70
"""s; older events may find that a value is no longer stored."""
SPAN = Span.of(LOOKBACK * SECOND, LEARNING * SECOND)
BRINGERS = (("a", ""), ("a", "container 1"), ("a", "container 2"), ("b", ""), ("b", "user 0"))
Arrival = tuple[int, str, int, tuple[str, str]]
"""Identity, value, s, and who brings it."""


def empty(maximum: int = 10_000, most: int = MOST) -> Sightings:
    """Return a store without values."""
    return Sightings({"macro": SPAN}, maximum=maximum, group_maximum=most)


def sighting(
    identity: int, value: str, arrival: float, group: str = "web", host: str = "host", bringer: str = ""
) -> Sighting:
    """Return an event. arrival: s."""
    return Sighting("macro", (group,), value, identity, 7, round(arrival * SECOND), host, bringer=bringer)


def loaded(held: Sightings, other: Sightings) -> Sightings:
    """Return the empty store of another process after it read the records of this one, in another order."""
    for (owner, group, _), host, record in reversed(list(held.records())):
        entry = decode_record(encode_entry(SeenEntry(owner, group, host, record)))
        assert isinstance(entry, SeenEntry)
        other.load(entry.owner, entry.group, entry.host, entry.state)
    return other


@st.composite
def arrivals(draw: st.DrawFn) -> list[Arrival]:
    """Draw events that arrive nearly in order, with gaps of all lengths, some of them several times."""
    found: list[Arrival] = []
    now = 10_000
    for identity in range(draw(st.integers(1, 40))):
        now += draw(st.sampled_from([0, 0, 1, 5, 9, 10, 50, 99, 100, 300, 639, 640, 650, 720, 730, 2000]))
        late = draw(st.sampled_from([0, 0, 0, 3, 10, 69]))
        found.append((identity, draw(st.sampled_from("uvwxyz")), now - late, draw(st.sampled_from(BRINGERS))))
        if draw(st.integers(0, 4)) == 0:
            found.append(draw(st.sampled_from([each for each in found[-5:] if now - each[2] < SLACK])))
    return found


@settings(max_examples=500, deadline=None)
@given(arrivals(), st.integers(2, 7), st.booleans())
def test_first_seen_equals_keeping_every_sighting(given_events: list[Arrival], most: int, restarts: bool) -> None:
    """In nearly any order, with redelivery, full groups and gaps that outlast the lookback, over restarts too."""
    held, answers, now = empty(most=most), [], 0
    for identity, value, arrival, (host, bringer) in given_events:
        now = max(now, arrival)
        held.sweep(now * SECOND)
        answer = held.see(sighting(identity, value, arrival, host=host, bringer=bringer))
        answers.append(answer.value if isinstance(answer, UpdateOutcome) else answer)
        assert len(held) <= most
        if restarts:
            held = loaded(held, empty())
            held.group_maximum = most

    numbered = [
        (*event, (host_of(share), share))
        for *event, (host, bringer) in given_events
        for share in [share_of(host, bringer)]
    ]
    assert answers == oracles.first_seen(numbered, LOOKBACK, LEARNING, most, PARTS)


def learned(*values: str, most: int = MOST) -> Sightings:
    """Return a store whose group has learned some values, and no longer learns."""
    held = empty(most=most)
    for number, value in enumerate(values or ("a",)):
        held.see(sighting(number, value, 0))
    return held


def test_one_change_is_one_record_however_many_values_are_known() -> None:
    """A new value writes itself; a repeat writes nothing until a part of the lookback is over."""
    held = learned(*map(str, range(1000)), most=2000)
    held.take_changes()

    assert held.see(sighting(1, "new", 200)) is True
    assert [key for key, *_ in held.take_changes()] == [("macro", ("web",), "new")]
    assert held.see(sighting(2, "new", 201)) is False
    assert held.take_changes() == []
    assert held.see(sighting(3, "new", 212)) is False
    assert len(held.take_changes()) == 1


def test_no_time_of_a_host_ends_the_learning_period() -> None:
    """Only the arrival of batches counts, and the first one begins it."""
    held = empty()
    assert held.see(sighting(1, "a", 0)) is UpdateOutcome.LEARNING
    assert held.see(sighting(2, "b", LEARNING - 1)) is UpdateOutcome.LEARNING
    assert held.see(sighting(3, "c", LEARNING)) is True


def test_who_brings_too_much_never_fires_and_recovers_after_a_lookback() -> None:
    """A value for which there was no room may come again, so none of his counts as new; going on renews nothing."""
    held = learned("a", "b", "c", "d")
    assert held.see(sighting(5, "e", 200)) is UpdateOutcome.FULL
    assert held.see(sighting(6, "e", 600)) is UpdateOutcome.FULL
    assert held.see(sighting(7, "a", 600)) is False

    held.sweep(730 * SECOND)
    assert len(held) == 1
    assert held.see(sighting(8, "f", 730)) is UpdateOutcome.LEARNING
    assert held.see(sighting(9, "g", 200 + LOOKBACK + 20)) is True


def test_the_account_with_the_most_values_makes_room_and_learns_again() -> None:
    """A host that invents values loses its own groups; another's stay, and the evicted never fire at once."""
    held = empty(maximum=100, most=50)
    held.see(sighting(1, "a", 0, group="quiet", host="quiet"))
    for number in range(300):
        held.see(sighting(number, f"v{number}", 200, group=f"loud-{number // 10}", host="loud"))

    assert len(held) <= 100
    assert set(held.take_evicted()) == {"loud"}
    assert held.see(sighting(2, "b", 300, group="quiet", host="quiet")) is True
    assert held.see(sighting(2, "b", 300, group="loud-0", host="loud")) is UpdateOutcome.LEARNING


def test_values_learned_from_the_past_are_known_and_let_the_group_begin_earlier() -> None:
    """They answer nothing, fire nothing, and only the end of learning moves the beginning of the period."""
    held = empty(most=9)
    held.see(sighting(1, "now", 1000))
    held.learn(sighting(0, "old", 600), 1000 * SECOND)
    held.learn(sighting(0, "forgotten", 300), 1000 * SECOND)
    assert held.see(sighting(2, "other", 1001)) is UpdateOutcome.LEARNING
    held.learned_since("macro", ("web",), 300 * SECOND)

    assert held.see(sighting(3, "old", 1002)) is False
    assert held.see(sighting(4, "forgotten", 1002)) is True
    assert held.see(sighting(5, "new", 1002)) is True


def test_a_clock_that_was_set_takes_all_times_along() -> None:
    """What was known stays known for as long as it would have."""
    held = learned("a")
    year = 365 * 86_400

    assert held.retime(lambda time: time + year * SECOND) == 1

    assert held.see(sighting(2, "a", year + LOOKBACK)) is False
    assert held.see(sighting(3, "b", year + LEARNING)) is True


def test_a_reset_forgets_a_value_or_a_group() -> None:
    """The value is new again; the group learns again."""
    held = learned("a")
    held.drop(("macro", ("web",), "a"))
    assert held.see(sighting(2, "a", 200)) is True

    held.drop(("macro", ("web",), None))
    assert (len(held), held.groups) == (0, 0)
    assert held.see(sighting(3, "a", 300)) is UpdateOutcome.LEARNING
