from hypothesis import given
from hypothesis import strategies as st

from processor.fleet.kafka.past_events import LastOfEach


@given(st.lists(st.tuples(st.sampled_from([b"a", b"b", b"c"]), st.integers(0, 400))), st.integers(300, 2_000))
def test_the_last_of_each_key_comes_last_and_little_is_held(sizes: list[tuple[bytes, int]], most: int) -> None:
    """What is given out of a key is in order and ends with its last; never more than the bound waits."""
    last = LastOfEach[tuple[bytes, int]](most, overhead=10)
    given_out: list[tuple[bytes, int]] = []
    waiting: dict[bytes, int] = {}
    for index, (key, size) in enumerate(sizes):
        out = list(last.put(key, (key, index), size))
        waiting[key] = size
        if out:
            waiting.clear()
        given_out += out
        assert sum(size + 11 for size in waiting.values()) <= most
    given_out += last.take_all()
    for key in (b"a", b"b", b"c"):
        indexes = [index for which, index in given_out if which == key]
        assert indexes == sorted(indexes)
        assert indexes[-1:] == [index for index, (which, _) in enumerate(sizes) if which == key][-1:]
