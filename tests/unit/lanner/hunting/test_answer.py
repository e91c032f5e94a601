"""What a page shows of a hunt."""

from datetime import UTC, datetime

import pyarrow as pa
import pytest

from lanner.archive.schema import archived_text
from lanner.hunting.answer import MAX_BARS, MAX_TEXT, answer_table, histogram, narrowing, period_ms
from lanner.recorder.search import compile_search
from lanner.recorder.store import EventRange
from processor.language.ast import checks
from processor.language.printer import print_condition

MS = 1_000_000
HOUR = 3_600_000


def test_a_table_has_texts_and_the_kinds_of_its_columns() -> None:
    """Integers beyond what a browser's numbers hold, times in UTC, and what is missing."""
    when = pa.array([datetime(2026, 11, 30, tzinfo=UTC)], pa.timestamp("ns", "UTC"))
    table = pa.table({"at": when, "n": [(1 << 63) - 1], "t": ["x"], "f": [True], "l": [["a", "ß"]], "none": [None]})
    found = answer_table(table)
    assert found.columns == [
        ("at", "time"), ("n", "number"), ("t", "text"), ("f", "text"), ("l", "text"), ("none", "text")
    ]  # fmt: skip
    assert found.rows == [["2026-11-30T00:00:00.000000000Z", "9223372036854775807", "x", "true", '["a", "ß"]', None]]
    assert not found.is_cut


def test_long_texts_and_large_tables_are_cut() -> None:
    """A query can make texts of any length."""
    found = answer_table(pa.table({"t": ["x" * (MAX_TEXT + 1)]}))
    assert (len(found.rows[0][0] or ""), found.is_cut) == (MAX_TEXT + 1, True)
    many = answer_table(pa.table({"t": ["x" * MAX_TEXT] * 3_000}))
    assert (len(many.rows), many.is_cut) == (2_000, True)


@pytest.mark.parametrize("length", [1, 59, 1_000, 60_000, HOUR, 24 * HOUR + 1, 90 * 24 * HOUR, 50_000 * 24 * HOUR])
def test_a_histogram_covers_the_range_in_a_bounded_number_of_bars(length: int) -> None:
    """From its beginning to its end, whatever its length."""
    events = EventRange(1_796_000_000_123, 1_796_000_000_123 + length)
    period = period_ms(events, is_recording=False)
    found = histogram([(events.since * MS, 2), ((events.since + length - 1) * MS, 3)], period, events)
    assert found is not None
    assert len(found.counts) <= MAX_BARS + 1
    assert (found.total, found.counts[-1] > 0) == (5, True)
    assert found.start <= events.since
    assert found.start + found.step * len(found.counts) >= events.since + length
    assert period == found.step


def test_a_range_without_a_start_begins_with_the_first_event() -> None:
    """All time has bars only where there are events."""
    until = 1_796_000_000_000
    events = EventRange(0, until)
    period = period_ms(events, is_recording=False)
    found = histogram([((until - 10 * HOUR) * MS, 1), ((until - 9 * HOUR) * MS, 4)], period, events)
    assert found is not None
    assert (found.total, found.step) == (5, 120_000)
    alone = histogram([((until - HOUR) * MS, 7)], period, events)
    assert alone is not None
    assert (alone.step, sum(alone.counts)) == (period, 7)
    assert histogram([], period, events) is None
    assert histogram([], period, EventRange(until - HOUR, until)) is not None


def test_a_group_has_the_condition_of_its_events() -> None:
    """Values are quoted, so that they can't change it; a masked one is unknown."""
    odd = 'a" or evt.num = 1 \\ \x1b\u202e\udc80'
    rows = pa.table(
        {"fd.name": [archived_text(odd), None, "token=[redacted]"], "proc.pid": [7, 8, 9], "events": [1, 1, 1]}
    )
    first, second, third = narrowing("evt.num > 0 or evt.num = 0", rows, ("fd.name", "proc.pid", "evt.type"))
    node = compile_search(first, ()).node
    assert print_condition(node).startswith("((evt.num > 0 or evt.num = 0) and fd.name = ")
    assert [getattr(each.right, "text", "") for each in checks(node)][-2:] == [odd, "7"]
    assert second == "(evt.num > 0 or evt.num = 0) and not fd.name exists and proc.pid = 8"
    assert third == ""
