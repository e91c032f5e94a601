import pytest

from foundation.histogram import BOUNDS, Histogram


def test_a_duration_is_counted_in_its_bucket() -> None:
    """A bound belongs to the bucket below it; the last bucket has none."""
    durations = Histogram()
    for seconds in (0.0, BOUNDS[0], BOUNDS[0] + 0.001, BOUNDS[-1] + 1):
        durations.add(seconds)
    assert (durations.counts[0], durations.counts[1], durations.counts[-1]) == (2, 1, 1)
    assert sum(durations.counts) == 4
    assert durations.seconds == pytest.approx(2 * BOUNDS[0] + 0.001 + BOUNDS[-1] + 1)


def test_an_event_of_the_future_took_no_time() -> None:
    """The clock of its host may be ahead."""
    durations = Histogram()
    durations.add_since(2_000_000_000, now=1_000_000_000)
    durations.add_since(1_000_000_000, now=3_000_000_000)
    assert (durations.counts[0], durations.seconds) == (1, 2.0)
