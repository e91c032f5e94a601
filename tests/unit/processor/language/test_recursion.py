import sys
from contextlib import ExitStack

import pytest

from processor.language.ast import deep


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_after_walks_that_overlap_the_recursion_limit_is_as_before(order: tuple[int, int]) -> None:
    """It is one for all threads, and they end in any order."""
    before = sys.getrecursionlimit()
    walks = [ExitStack(), ExitStack()]
    for walk in walks:
        walk.enter_context(deep())

    assert sys.getrecursionlimit() > before
    walks[order[0]].close()
    assert sys.getrecursionlimit() > before
    walks[order[1]].close()
    assert sys.getrecursionlimit() == before


def test_a_walk_that_fails_restores_the_recursion_limit() -> None:
    """What relies on it works as before."""
    before = sys.getrecursionlimit()

    with pytest.raises(ValueError, match="x"), deep():
        raise ValueError("x")

    assert sys.getrecursionlimit() == before
