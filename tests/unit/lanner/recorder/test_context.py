from collections.abc import Callable

from lanner.recorder.context import Timeline, TimelineRange, by_id, by_number
from schemas.alert import alert_id
from schemas.batch import EventBatch
from tests.unit.processor.batches import TIME, batch_of

SECOND = 1_000_000_000
WINDOW = TimelineRange(TIME - 10 * SECOND, TIME, TIME + 5 * SECOND)


def events(*seconds: float, first: int = 1, sequence: int = 7) -> EventBatch:
    """Return a batch with events at these times after the alert."""
    rows = [{"type": "openat", "time": TIME + int(at * SECOND)} for at in seconds]
    return batch_of(*rows, first_number=first, sequence=sequence)


def number(batch: EventBatch) -> Callable[[int], str]:
    """Format an event as its number."""
    return lambda index: str(batch.first_number + index)


def shown(timeline: Timeline[str]) -> tuple[list[str], list[str]]:
    """Return the texts; the alert's event is marked."""
    before, after = timeline.lines()
    return [f"{line.shown}{'!' * line.is_trigger}" for line in before], [line.shown for line in after]


def test_events_of_the_window_stand_before_and_after_the_alert() -> None:
    """The alert's event is the last of the first part; events outside the window are omitted."""
    timeline = Timeline(WINDOW, by_number(TIME, 4), number, 10)
    timeline.take(events(-11, -10, -1, 0, 0, 1))
    timeline.take(events(4, 6, first=7))
    assert shown(timeline) == (["2", "3", "4!"], ["5", "6", "7"])
    assert timeline.is_found
    assert not timeline.is_past


def test_a_batch_from_behind_the_window_ends_it() -> None:
    """No later event can be in the window; for an empty batch, its creation time counts."""
    timeline = Timeline(WINDOW, by_number(TIME, 1), number, 10)
    timeline.take(events(0, 9))
    assert not timeline.is_past
    timeline.take(events(5.1))
    assert timeline.is_past


def test_memory_is_bounded_and_what_is_left_out_is_counted() -> None:
    """The events nearest to the alert remain."""
    timeline = Timeline(WINDOW, by_number(TIME, 6), number, 3)
    timeline.take(events(-5, -4, -3, -2, -1, 0, 1, 2, 3, 4))
    assert shown(timeline) == (["4", "5", "6!"], ["7", "8", "9"])
    assert (timeline.too_early, timeline.too_late) == (3, 1)


def test_an_alert_without_an_event_stands_where_its_time_is() -> None:
    """An alert without an event, such as that of a silent host, is placed by its time."""
    timeline = Timeline(WINDOW, by_number(TIME, None), number, 10)
    timeline.take(events(-1, 0, 1))
    assert shown(timeline) == (["1", "2"], ["3"])
    assert not timeline.is_found


def test_the_event_is_found_by_the_id_alone() -> None:
    """A recording doesn't contain the alert; the rules' names are needed."""
    batch = events(-1, 0, 0)
    identity = alert_id(TIME, "A rule", batch.host_id, batch.boot_id, batch.collector_start, batch.sequence, 2)
    for rules, expected in ((frozenset({"B", "A rule"}), ["1", "2", "3!"]), (frozenset({"B"}), ["1", "2", "3"])):
        timeline = Timeline(WINDOW, by_id(identity, rules), number, 10)
        timeline.take(batch)
        assert shown(timeline)[0] == expected
