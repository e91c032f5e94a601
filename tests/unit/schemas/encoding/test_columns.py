from array import array
from itertools import accumulate, pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from schemas.encoding.columns import MAX_LIMIT, _cached_lanes, check_below, check_steps

NEAR = st.integers(-2, 2)
NUMBERS = (
    st.integers(-(2**31), 2**31 - 1)
    | st.integers(0, 20)
    | st.builds(lambda bit, near: max(-(2**31), min((1 << bit) + near, 2**31 - 1)), st.integers(0, 31), NEAR)
)
COLUMNS = st.dictionaries(st.sampled_from("abc"), st.lists(NUMBERS, max_size=6), min_size=1)


@given(COLUMNS, st.integers(1, 30) | st.integers(1, MAX_LIMIT))
@example({"a": [-1, 0], "b": [0]}, 1)
@example({"a": [-(2**20), 19]}, 20)
@example({"a": [2**20 - 1]}, MAX_LIMIT)
@example({"a": [0] * 1023 + [7] + [0] * 1025}, 7)
@example({"a": [0] * 1023 + [7] + [0] * 1025}, 8)
def test_the_check_finds_what_max_and_min_would(columns: dict[str, list[int]], limit: int) -> None:
    """The check agrees with a loop, also for carries and at the ends of blocks, and names a wrong column."""
    raw = {name: array("i", values).tobytes() for name, values in columns.items()}
    wrong = [name for name, values in columns.items() if any(not 0 <= value < limit for value in values)]
    if not wrong:
        check_below(limit, raw, tuple(raw))
        return
    with pytest.raises(ValueError, match=f"column p_{wrong[0]} points outside its table"):
        check_below(limit, raw, tuple(raw), "p_")


@given(st.lists(st.integers(0, 70) | st.integers(0, 2**32 - 1), min_size=1, max_size=40), st.booleans())
@example([0, 63, 126], False)
@example([0, 64], False)
@example([0, 5, 4, 2**31 - 1], False)
@example([2**31, 0], False)
def test_the_check_of_steps_finds_what_a_look_at_each_would(numbers: list[int], are_steps: bool) -> None:
    """The check agrees with a loop, also for negative and too large steps."""
    column = list(accumulate([0, *numbers])) if are_steps else numbers
    column = [number & 0xFFFFFFFF for number in column]
    steps = [after - before for before, after in pairwise(column)]
    is_right = column[0] == 0 and max(column) < 2**31 and all(0 <= step < 64 for step in steps)
    if is_right:
        check_steps(array("I", column).tobytes(), 64)
        return
    with pytest.raises(ValueError, match=r"begin|too large"):
        check_steps(array("I", column).tobytes(), 64)


def test_a_large_message_leaves_nothing_behind() -> None:
    """Masks of oversized batches are not cached; those of ordinary batches are."""
    _cached_lanes.cache_clear()
    check_below(5, {"a": array("i", [4]).tobytes() * 500_000}, ("a",))
    assert _cached_lanes.cache_info().currsize == 0
    check_below(5, {"a": array("i", [4]).tobytes() * 15_000}, ("a",))
    assert _cached_lanes.cache_info().currsize == 1
