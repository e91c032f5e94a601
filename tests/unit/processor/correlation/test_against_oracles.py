"""Windows that keep little answer as those that keep everything: any order, duplicates, late events, many hosts."""

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from processor.correlation.groups import GroupState, State, decode_entry, encode_entry
from processor.correlation.windows import (
    EventCount,
    LegEvent,
    Ordered,
    Temporal,
    UpdateOutcome,
    ValueCount,
    count_event,
    count_value,
    extend_chain,
    see_leg,
)
from tests.unit.processor.correlation import oracles

TIMESPAN, LATENESS = 60, 30
LEGS = ("a", "b", "c")

_stamps = st.tuples(st.integers(0, 20).map(lambda tens: 10 * tens), st.integers(0, 30), st.integers(-2, 2))


@st.composite
def arrivals(draw: st.DrawFn, what: st.SearchStrategy[Any]) -> list[Any]:
    """Draw events with what they carry, then the order in which they come, some of them several times."""
    events = draw(st.dictionaries(_stamps, what, min_size=1, max_size=25))
    order = draw(st.lists(st.sampled_from(sorted(events)), min_size=1, max_size=60))
    return [(stamp, events[stamp]) for stamp in order]


@st.composite
def hosts_in_order(draw: st.DrawFn, what: st.SearchStrategy[Any]) -> list[Any]:
    """Draw hosts whose own events come in order, each host behind the others as it likes."""
    queues = []
    for host in range(3):
        times = sorted(draw(st.lists(st.integers(0, 200), max_size=15)))
        queues.append([((time, index, host), draw(what)) for index, time in enumerate(times)])
    result = []
    while any(queues):
        queue = draw(st.sampled_from([queue for queue in queues if queue]))
        result.append(queue.pop(0))
    return result


def either(what: st.SearchStrategy[Any]) -> st.SearchStrategy[list[Any]]:
    """Draw events in any order, or those of hosts that lag."""
    return arrivals(what) | hosts_in_order(what)


def stored(state: State) -> State:
    """Return the state as it is after a restart."""
    return decode_entry(encode_entry(GroupState("owner", ("group",), "host", 0, state))).state


def said(fired: Any, outcome: UpdateOutcome) -> Any:
    """Return an answer as the oracles write it."""
    return fired if outcome is UpdateOutcome.TAKEN else outcome.value


legs = st.sets(st.integers(0, 2), min_size=1)


@settings(max_examples=300, deadline=None)
@given(either(st.sampled_from([1, 1, 1, 2, 3, 9])), st.integers(1, 5), st.booleans())
def test_event_count_equals_counting_everything(given_events: list[Any], threshold: int, restarts: bool) -> None:
    """The newest N stamps are enough to know whether N events are in the window, over restarts too."""
    state, answers = EventCount(), []
    for stamp, weight in given_events:
        state, fired, outcome = count_event(
            state, stamp, timespan=TIMESPAN, threshold=threshold, lateness=LATENESS, weight=weight
        )
        answers.append(said(fired and fired.count, outcome))
        assert len(state.stamps) <= threshold
        state = stored(state) if restarts else state  # type: ignore[assignment]

    assert answers == oracles.event_count(given_events, threshold, TIMESPAN, LATENESS)


@settings(max_examples=300, deadline=None)
@given(either(st.sampled_from("uvwxyz")), st.integers(1, 5), st.booleans())
def test_value_count_equals_counting_everything(given_events: list[Any], threshold: int, restarts: bool) -> None:
    """The newest stamps of N values are enough."""
    state, answers = ValueCount(), []
    for stamp, value in given_events:
        state, fired, outcome = count_value(
            state, stamp, value, timespan=TIMESPAN, threshold=threshold, lateness=LATENESS
        )
        answers.append(said(fired and list(fired.values), outcome))
        assert len(state.values) <= threshold
        state = stored(state) if restarts else state  # type: ignore[assignment]

    assert answers == oracles.value_count(given_events, threshold, TIMESPAN, LATENESS)


@settings(max_examples=300, deadline=None)
@given(either(legs), st.booleans())
def test_temporal_equals_looking_through_everything(given_events: list[Any], restarts: bool) -> None:
    """The newest event of each leg is enough."""
    state, answers = Temporal(), []
    for stamp, satisfied in given_events:
        seen = LegEvent(stamp)
        state, fired, outcome = see_leg(
            state, dict.fromkeys(satisfied, seen), names=LEGS, timespan=TIMESPAN, lateness=LATENESS
        )
        answers.append(said(fired and [leg.stamp for _, leg in fired.legs], outcome))
        state = stored(state) if restarts else state  # type: ignore[assignment]

    assert answers == oracles.temporal(given_events, len(LEGS), TIMESPAN, LATENESS)


@settings(max_examples=500, deadline=None)
@given(either(st.sets(st.integers(0, 3), min_size=1)), st.booleans())
def test_temporal_ordered_with_until_equals_keeping_all_chains(given_events: list[Any], restarts: bool) -> None:
    """What ends chains drops those that began before it, in any order of arrival."""
    state, answers = Ordered(), []
    for stamp, satisfied in given_events:
        events = dict.fromkeys(satisfied - {3}, LegEvent(stamp))
        until = stamp if 3 in satisfied else None
        state, fired, outcome = extend_chain(
            state, events, names=LEGS, timespan=TIMESPAN, until=until, lateness=LATENESS
        )
        answers.append(said(fired and [leg.stamp for _, leg in fired.legs], outcome))
        state = stored(state) if restarts else state  # type: ignore[assignment]

    assert answers == oracles.ordered(given_events, len(LEGS), TIMESPAN, LATENESS)


@settings(max_examples=300, deadline=None)
@given(either(legs), st.booleans())
def test_temporal_ordered_equals_keeping_all_chains(given_events: list[Any], restarts: bool) -> None:
    """The chain that began last is enough, out of all chains that reach a leg."""
    state, answers = Ordered(), []
    for stamp, satisfied in given_events:
        seen = LegEvent(stamp)
        state, fired, outcome = extend_chain(
            state, dict.fromkeys(satisfied, seen), names=LEGS, timespan=TIMESPAN, lateness=LATENESS
        )
        answers.append(said(fired and [leg.stamp for _, leg in fired.legs], outcome))
        state = stored(state) if restarts else state  # type: ignore[assignment]

    assert answers == oracles.ordered(given_events, len(LEGS), TIMESPAN, LATENESS)
