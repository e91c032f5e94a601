from hypothesis import given
from hypothesis import strategies as st

from bus.clients.backoff import Backoff
from notifier.delivery.outcome import Delivered, RateLimited, RetryLater, Undeliverable
from notifier.delivery.retry import QueueDeadLettered, QueueDelivered, QueueWaiting, RetryPolicy


def courier() -> RetryPolicy:
    """Make one whose jitter is always in the middle."""
    return RetryPolicy(Backoff(), lambda: 0.5)


def test_an_outage_is_tried_ever_more_seldom_and_gives_nothing_up() -> None:
    """Half an hour of failures: the wait grows to a minute, and no alert leaves the line."""
    line, now, attempts = courier(), 0.0, 0
    while now < 1800:
        assert line.judge(RetryLater("down"), now) == QueueWaiting("down")
        attempts += 1
        assert 0 < line.wait(now) <= 60
        now += line.wait(now)
    assert 30 <= attempts <= 60
    assert line.failing_since == 0.0
    assert line.judge(Delivered(), now) == QueueDelivered(1)
    assert (line.failures, line.failing_since, line.wait(now)) == (0, None, 0.0)


def test_what_a_far_end_asks_for_is_never_undercut() -> None:
    """Retry-After: 30 means 30 and a little more."""
    line = courier()
    line.judge(RetryLater("too many", 30.0), 0.0)
    assert 30 <= line.wait(0.0) <= 31


def test_a_mad_retry_after_is_bounded() -> None:
    """A wrong header must not silence a sink for a year."""
    line = courier()
    line.judge(RetryLater("too many", 3e7), 0.0)
    assert line.wait(0.0) <= 901


def test_keeping_a_limit_is_no_failure() -> None:
    """Slack's one message a second is waited for in silence."""
    line = courier()
    assert line.judge(RateLimited(0.75), 5.0) == QueueWaiting(None)
    assert (line.wait(5.0), line.failures) == (0.75, 0)


def test_after_a_refusal_of_several_the_one_at_fault_is_found() -> None:
    """They are offered one by one until the bad one is buried and the rest went."""
    line = courier()
    assert line.judge(Undeliverable("bad", 3), 0.0) == QueueWaiting("bad")
    assert line.limit(100) == 1
    assert line.judge(Delivered(), 0.0) == QueueDelivered(1)
    assert line.judge(Undeliverable("bad"), 0.0) == QueueDeadLettered("bad", 1)
    assert line.limit(100) == 1
    assert line.judge(Delivered(), 0.0) == QueueDelivered(1)
    assert line.limit(100) == 100


def test_the_attempts_of_a_dead_letter_are_counted() -> None:
    """Those that failed before the refusal belong to it."""
    line = courier()
    line.judge(RetryLater("down"), 0.0)
    line.judge(RetryLater("down"), 9.0)
    assert line.judge(Undeliverable("bad"), 99.0) == QueueDeadLettered("bad", 3)


@given(st.integers(1, 10**6), st.none() | st.floats(0, 1e12), st.floats(0, 1))
def test_a_wait_is_bounded_whatever_happens(failures: int, asked: float | None, draw: float) -> None:
    """However many failures, whatever is asked."""
    wait = Backoff().seconds(failures, asked, draw)
    assert 0 <= wait <= 901
    assert asked is None or wait >= min(asked, 900)
