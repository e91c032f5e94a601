from hypothesis import given
from hypothesis import strategies as st

from processor.fleet.agent import AckOrder


@given(st.permutations(range(12)))
def test_only_a_whole_beginning_leaves(order: list[int]) -> None:
    """However late each ends, they leave in the order in which they began, and none before all that are older."""
    begun: AckOrder[int] = AckOrder()
    for item in range(12):
        begun.begin(item)
    left: list[int] = []
    ended: set[int] = set()
    for item in order:
        ended.add(item)
        left += begun.finish(item)
        assert left == list(range(len(left)))
        assert set(range(len(left))) <= ended
        assert len(left) == 12 or len(left) not in ended
    assert len(begun) == 0
