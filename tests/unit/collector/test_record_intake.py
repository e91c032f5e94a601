from hypothesis import given
from hypothesis import strategies as st

from collector.record_intake import PendingEvents

SECOND = 1_000_000_000


def test_events_wait_and_go_on_in_order_when_the_facts_are_there() -> None:
    """Order holds within each container."""
    waiting: PendingEvents[int] = PendingEvents()
    for number, container in enumerate("abab"):
        assert waiting.should_hold(container, is_pending=True)
        assert waiting.hold(container, number, number) == []

    assert (waiting.release("a"), len(waiting)) == ([0, 2], 2)
    assert waiting.release("b") == [1, 3]
    assert waiting.release("c") == []
    assert (waiting.gave_up_by_time, waiting.gave_up_by_count) == (0, 0)


def test_a_container_whose_facts_are_known_does_not_wait() -> None:
    """Host events don't wait either, because nothing is queried for the host."""
    assert not PendingEvents[int]().should_hold("a", is_pending=False)


def test_an_event_waits_behind_earlier_ones() -> None:
    """The facts have arrived, but the earlier events are still waiting."""
    waiting: PendingEvents[int] = PendingEvents()
    waiting.hold("a", 1, 0)

    assert waiting.should_hold("a", is_pending=False)


def test_after_a_second_events_go_on_with_what_is_known() -> None:
    """The container's later events don't wait a second each."""
    waiting: PendingEvents[int] = PendingEvents()
    waiting.hold("a", 1, 0)
    waiting.hold("b", 2, SECOND // 2)
    waiting.hold("a", 3, SECOND - 1)

    assert waiting.expired(SECOND - 1) == []
    assert waiting.expired(SECOND) == [1, 3]
    assert (waiting.gave_up_by_time, len(waiting)) == (2, 1)
    assert not waiting.should_hold("a", is_pending=True)
    assert waiting.expired(2 * SECOND) == [2]


def test_too_many_events_push_on_the_container_that_has_waited_longest() -> None:
    """One container can't use up the memory or delay the others."""
    waiting: PendingEvents[int] = PendingEvents(max_events=3)
    waiting.hold("a", 1, 0)
    for number in (2, 3):
        waiting.hold("b", number, 0)

    assert waiting.hold("b", 4, 0) == [1]
    assert waiting.hold("b", 5, 0) == [2, 3, 4, 5]
    assert (waiting.gave_up_by_count, len(waiting)) == (5, 0)
    assert not waiting.should_hold("b", is_pending=True)


def test_the_end_lets_everything_go_on() -> None:
    """No event is lost."""
    waiting: PendingEvents[int] = PendingEvents()
    waiting.hold("a", 1, 0)
    waiting.hold("b", 2, 0)

    assert sorted(waiting.drain()) == [1, 2]
    assert len(waiting) == 0


STEP = st.one_of(
    st.tuples(st.just("event"), st.sampled_from("abc")),
    st.tuples(st.just("known"), st.sampled_from("abc")),
    st.tuples(st.just("time"), st.integers(0, 40)),
)


@given(st.lists(STEP, max_size=60))
def test_each_event_goes_on_once_and_in_its_container_s_order(steps: list[tuple[str, str | int]]) -> None:
    """In any sequence of steps, the limits hold at each step."""
    waiting: PendingEvents[tuple[str, int]] = PendingEvents(max_age=30, max_events=5)
    out: list[tuple[str, int]] = []
    now = made = 0
    known: set[str] = set()
    for kind, value in steps:
        if kind == "time":
            now += int(value)
            out += waiting.expired(now)
        elif kind == "known":
            known.add(str(value))
            out += waiting.release(str(value))
        else:
            container, event = str(value), (str(value), made)
            made += 1
            if waiting.should_hold(container, is_pending=container not in known):
                out += waiting.hold(container, event, now)
            else:
                out.append(event)
        assert len(waiting) <= 5
    out += waiting.drain()

    assert sorted(number for _, number in out) == list(range(made))
    for container in "abc":
        numbers = [number for each, number in out if each == container]
        assert numbers == sorted(numbers)
