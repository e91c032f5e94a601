from foundation.throttling import RateLimit


def test_each_client_has_tokens_of_its_own_that_come_back() -> None:
    """A client that waits may go on; another is not affected."""
    limit = RateLimit[str](per_second=2, at_once=3)
    assert [limit.take("a", 0) for _ in range(4)] == [True, True, True, False]
    assert limit.take("b", 0)
    assert limit.take("a", 0.5)
    assert not limit.take("a", 0.6)
    assert [limit.take("a", 100) for _ in range(4)] == [True, True, True, False]
