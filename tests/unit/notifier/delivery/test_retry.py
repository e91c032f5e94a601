from hypothesis import given
from hypothesis import strategies as st

from foundation.backoff import Backoff
from notifier.delivery.retry import QueueDeadLettered, QueueDelivered, QueueWaiting, RetryPolicy
from notifier.sink import Delivered, RateLimited, RetryLater, Undeliverable


def policy() -> RetryPolicy:
    """Return a policy whose jitter is always average."""
    return RetryPolicy(Backoff(), lambda: 0.5)


def test_attempts_become_rarer_in_an_outage_and_no_alert_is_dropped() -> None:
    """During 30 minutes of failures the wait grows to a minute, and no alert leaves the queue."""
    retry, now, attempts = policy(), 0.0, 0
    while now < 1800:
        assert retry.record(RetryLater("down"), now) == QueueWaiting("down")
        attempts += 1
        assert 0 < retry.wait(now) <= 60
        now += retry.wait(now)
    assert 30 <= attempts <= 60
    assert retry.failing_since == 0.0
    assert retry.record(Delivered(), now) == QueueDelivered(1)
    assert (retry.failures, retry.failing_since, retry.wait(now)) == (0, None, 0.0)


def test_retry_after_is_a_lower_bound() -> None:
    """Retry-After: 30 results in 30 s and a little more."""
    retry = policy()
    retry.record(RetryLater("too many", 30.0), 0.0)
    assert 30 <= retry.wait(0.0) <= 31


def test_an_absurd_retry_after_is_capped() -> None:
    """A wrong header must not stop a sink for a year."""
    retry = policy()
    retry.record(RetryLater("too many", 3e7), 0.0)
    assert retry.wait(0.0) <= 901


def test_a_rate_limit_is_not_a_failure() -> None:
    """Slack's one message per second causes a wait without a report."""
    retry = policy()
    assert retry.record(RateLimited(0.75), 5.0) == QueueWaiting(None)
    assert (retry.wait(5.0), retry.failures) == (0.75, 0)


def test_the_alert_at_fault_is_found_after_several_are_refused() -> None:
    """They are sent one by one until the bad one is dead-lettered and the rest are delivered."""
    retry = policy()
    assert retry.record(Undeliverable("bad", 3), 0.0) == QueueWaiting("bad")
    assert retry.limit(100) == 1
    assert retry.record(Delivered(), 0.0) == QueueDelivered(1)
    assert retry.record(Undeliverable("bad"), 0.0) == QueueDeadLettered("bad", 1)
    assert retry.limit(100) == 1
    assert retry.record(Delivered(), 0.0) == QueueDelivered(1)
    assert retry.limit(100) == 100


def test_the_attempts_of_a_dead_letter_are_counted() -> None:
    """Failed attempts before the refusal count too."""
    retry = policy()
    retry.record(RetryLater("down"), 0.0)
    retry.record(RetryLater("down"), 9.0)
    assert retry.record(Undeliverable("bad"), 99.0) == QueueDeadLettered("bad", 3)


@given(st.integers(1, 10**6), st.none() | st.floats(0, 1e12), st.floats(0, 1))
def test_a_wait_is_bounded_whatever_happens(failures: int, requested: float | None, draw: float) -> None:
    """For any number of failures and any Retry-After."""
    wait = Backoff().seconds(failures, requested, draw)
    assert 0 <= wait <= 901
    assert requested is None or wait >= min(requested, 900)
