from array import array
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from bus.messages import AHEAD, BEHIND
from processor.hosts.arrival import dated
from schemas.batch import Container, Process
from tests.unit.processor.batches import TIME, batch_of

HOUR = 3_600_000_000_000
_TIMES = st.integers(-(2**63), 2**63 - 1)


def test_all_times_of_a_batch_move_together() -> None:
    """So that what is between them, such as how long a process has run, stays."""
    process = Process(pid=7, start_time=TIME - 5, exec_time=TIME - 4)
    container = Container(id="c", full_id="c", type="docker", start_ts=TIME - 9)
    batch = batch_of({"type": "openat"}, {"type": "close"}, processes=[process], containers=[container])
    batch.created = TIME

    moved, outside = dated(batch, TIME - HOUR, -HOUR)

    assert outside == 0
    assert list(moved.columns["time"]) == [TIME - HOUR] * 2
    assert (moved.processes[0].start_time, moved.processes[0].exec_time) == (TIME - 5 - HOUR, TIME - 4 - HOUR)
    assert (moved.containers[0].start_ts, moved.created) == (TIME - 9 - HOUR, TIME - HOUR)
    assert moved.appended == TIME - HOUR


def test_a_batch_with_a_right_clock_keeps_its_columns() -> None:
    """A batch that waited for weeks in a spool included."""
    batch = batch_of({"type": "openat"})
    for waited in (0, 60 * 24 * HOUR):
        same, outside = dated(batch, TIME + waited, 0)
        assert same.columns is batch.columns
        assert outside == 0


def test_events_dated_years_off_are_set_to_the_bounds_and_counted() -> None:
    """They are evaluated all the same; a correction that the host announces does not help it."""
    decades = 50 * 365 * 24 * HOUR
    batch = batch_of(*({"type": "openat", "time": time} for time in (TIME, TIME + decades, TIME - decades)))

    assert list(dated(batch, TIME, 0)[0].columns["time"]) == [TIME, TIME + AHEAD, TIME - BEHIND]
    assert dated(batch, TIME, 0)[1] == 2
    assert dated(batch, TIME, decades)[1] == 2


@given(st.lists(_TIMES, min_size=1, max_size=5), _TIMES, _TIMES, st.integers(-(2**61), 2**61))
def test_no_time_that_a_host_sends_leaves_the_bounds(times: list[int], started: int, created: int, offset: int) -> None:
    """Nor does one overflow its column, whatever it is corrected by."""
    batch = batch_of(*({"type": "openat"} for _ in times), processes=[Process(pid=1, start_time=started)])
    batch.columns["time"] = array("q", times)

    found, _ = dated(replace(batch, created=created), TIME, offset)

    assert all(TIME - BEHIND <= time <= TIME + AHEAD for time in (*found.columns["time"], found.created))
    if offset:
        assert 0 <= (found.processes[0].start_time or 0) <= TIME + AHEAD
