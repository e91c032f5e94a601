"""By what a process is known to be the one of an alert."""

import time

import pytest

from collector.actions.processes import START_SLACK, BootOffsets, ancestors
from collector.processes.process import TICK

HOUR = 3_600_000_000_000


def test_a_start_counts_by_each_clock_that_the_host_has_had(monkeypatch: pytest.MonkeyPatch) -> None:
    """Events of a process that began before the clock was set have the former time."""
    offsets, read = BootOffsets(), time.time_ns
    begun = read() - time.clock_gettime_ns(time.CLOCK_BOOTTIME)
    assert offsets.is_start(1000, begun + 1000 * TICK + TICK // 2)
    assert not offsets.is_start(1000, begun + HOUR + 1000 * TICK)
    monkeypatch.setattr(time, "time_ns", lambda: read() + HOUR)
    for _ in range(3):
        offsets.observe()
    assert offsets.is_start(1000, begun + 1000 * TICK)
    assert offsets.is_start(1000, begun + HOUR + 1000 * TICK)


def test_another_process_that_began_soon_after_does_not_count() -> None:
    """Neither does one that began before."""
    offsets = BootOffsets()
    begun = time.time_ns() - time.clock_gettime_ns(time.CLOCK_BOOTTIME) + 1000 * TICK
    for difference in (-2 * START_SLACK, TICK + 2 * START_SLACK):
        assert not offsets.is_start(1000, begun + difference)


def test_what_a_process_descends_from_ends_with_the_first_one() -> None:
    """Whatever its id is."""
    assert list(ancestors(1)) == [1]
    assert list(ancestors(0)) == []
