from array import array

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from schemas.indices import MAX_LIMIT, check_below

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
    """Neighbours, carries and the ends of blocks included; the column that is told is wrong itself."""
    raw = {name: array("i", values).tobytes() for name, values in columns.items()}
    wrong = [name for name, values in columns.items() if any(not 0 <= value < limit for value in values)]
    if not wrong:
        check_below(limit, raw, tuple(raw))
        return
    with pytest.raises(ValueError, match=f"column p_{wrong[0]} points outside its table"):
        check_below(limit, raw, tuple(raw), "p_")
