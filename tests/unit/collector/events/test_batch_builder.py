from array import array

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector.events.batch_builder import BatchBuilder
from schemas.batch import ARGUMENT_COLUMNS, EVENT_COLUMNS, empty_columns

ROW = tuple(range(1, len(EVENT_COLUMNS) + 1))


def test_an_empty_batch_has_every_column() -> None:
    """A batch is sent even if nothing happened."""
    builder = BatchBuilder()

    assert (builder.count, builder.size, builder.strings) == (0, 0, [None])
    assert builder.columns() == empty_columns()


def test_a_text_stands_once() -> None:
    """Its index is reused; 0 is for missing texts, and an empty text is a text."""
    builder = BatchBuilder()

    indices = [builder.intern(text) for text in ("a", None, "b", "a", "", "b", "")]

    assert indices == [1, 0, 2, 1, 3, 2, 3]
    assert builder.strings == [None, "a", "b", ""]


def test_size_counts_each_text_once() -> None:
    """Repetition costs nothing, so it must not fill a batch."""
    builder = BatchBuilder()
    for _ in range(3):
        builder.intern("four")
        builder.intern("\udcff")

    assert builder.size == 5


def test_rows_become_columns_of_their_types() -> None:
    """Element i of each column is event i."""
    builder = BatchBuilder()
    builder.add(ROW[0], ROW[1:], (), [])
    builder.add(ROW[0] * 10, tuple(value * 10 for value in ROW[1:]), (), [])

    columns = builder.columns()

    assert builder.count == 2
    for (name, code), value in zip(EVENT_COLUMNS.items(), ROW, strict=True):
        assert columns[name] == array(code, [value, value * 10])


def test_arguments_belong_to_their_event() -> None:
    """arg_start has the start of each event's arguments, and the end of the last."""
    builder = BatchBuilder()
    builder.add(0, ROW[1:], ("res", "fd"), [("0", 0), ("<f>/x", 3)])
    builder.add(0, ROW[1:], (), [])
    builder.add(0, ROW[1:], ("res",), [(None, -2)])

    columns = builder.columns()

    def texts(name: str) -> list[str | None]:
        return [builder.strings[index] for index in columns[name]]

    assert list(columns["arg_start"]) == [0, 2, 2, 3]
    assert texts("arg_name") == ["res", "fd", "res"]
    assert texts("arg_value") == ["0", "<f>/x", None]
    assert list(columns["arg_raw"]) == [0, 3, -2]
    assert {name: columns[name].typecode for name in ARGUMENT_COLUMNS} == ARGUMENT_COLUMNS  # type: ignore[attr-defined]


def test_an_event_comes_again_at_another_time() -> None:
    """Everything but its time is unchanged."""
    builder = BatchBuilder()
    builder.add(3, ROW[1:], (), [])
    event = builder.add(5, tuple(value * 10 for value in ROW[1:]), ("res",), [("0", 0)])
    builder.repeat(7, event)

    columns = builder.columns()

    assert builder.count == 3
    assert list(columns["time"]) == [3, 5, 7]
    assert list(columns["process"]) == [ROW[1], ROW[1] * 10, ROW[1] * 10]
    assert list(columns["arg_start"]) == [0, 0, 1, 2]
    assert list(columns["arg_raw"]) == [0, 0]


@given(
    st.lists(st.lists(st.integers(0, 3), max_size=3), min_size=1, max_size=4), st.lists(st.integers(0, 20), max_size=12)
)
def test_events_that_come_again_are_as_if_added_again(kinds: list[list[int]], repeated: list[int]) -> None:
    """What they share is packed once, and the result is the same."""
    once, each = BatchBuilder(), BatchBuilder()
    for builder in (once, each):
        rows = [tuple(value + kind for value in ROW[1:]) for kind in range(len(kinds))]
        names = [tuple(f"n{index}" for index in range(len(numbers))) for numbers in kinds]
        arguments = [[(str(number), number) for number in numbers] for numbers in kinds]
        events = [builder.add(0, *facts) for facts in zip(rows, names, arguments, strict=True)]
        for time, index in enumerate(repeated):
            kind = index % len(kinds)
            if builder is once:
                builder.repeat(time, events[kind])
            else:
                builder.add(time, rows[kind], names[kind], arguments[kind])

    assert once.columns() == each.columns()
    assert (once.count, once.strings) == (each.count, each.strings)


def test_a_row_of_another_width_is_refused() -> None:
    """A missing value would shift all that follow."""
    builder = BatchBuilder()
    builder.add(0, ROW[1:-1], (), [])

    with pytest.raises(ValueError, match="argument"):
        builder.columns()


@given(st.lists(st.lists(st.text(max_size=3) | st.none(), max_size=4), max_size=8))
def test_any_texts_come_back(events: list[list[str | None]]) -> None:
    """Interning loses and mixes up nothing."""
    builder = BatchBuilder()
    for texts in events:
        builder.add(0, ROW[1:], tuple(f"n{number}" for number in range(len(texts))), [(text, 0) for text in texts])
    columns = builder.columns()

    found = [
        [builder.strings[index] for index in columns["arg_value"][start:end]]
        for start, end in zip(columns["arg_start"], columns["arg_start"][1:], strict=False)
    ]
    assert found == events
    assert len(set(builder.strings)) == len(builder.strings)


def test_a_clock_that_was_set_moves_the_events_so_far() -> None:
    """Including repeated ones; events added afterwards have the new time already."""
    builder = BatchBuilder()
    event = builder.add(100, ROW[1:], (), [])
    builder.repeat(101, event)

    builder.shift(-50)
    builder.repeat(60, event)

    assert list(builder.columns()["time"]) == [50, 51, 60]


def test_an_event_can_be_added_by_its_parts() -> None:
    """It has the same columns, at another time."""
    builder = BatchBuilder()
    builder.add(100, ROW[1:], ("first",), [("a", 1)])
    event = builder.add(101, ROW[1:], ("fd", "name"), [("b", 2), (None, 3)])

    builder.add_parts(102, builder.parts(event))

    columns = builder.columns()
    assert list(columns["time"]) == [100, 101, 102]
    assert list(columns["arg_start"]) == [0, 1, 3, 5]
    for name in ("arg_name", "arg_value", "arg_raw"):
        assert list(columns[name][1:3]) == list(columns[name][3:])
