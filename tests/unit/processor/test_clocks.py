import pytest

from processor.clocks import corrected
from schemas.batch import Container, Process
from schemas.codec import BadBatch
from tests.unit.processor.batches import TIME, batch_of

HOUR = 3_600_000_000_000


def test_all_times_of_a_batch_move_together() -> None:
    """So that what is between them, such as how long a process has run, stays."""
    process = Process(pid=7, start_time=TIME - 5, exec_time=TIME - 4)
    container = Container(id="c", full_id="c", type="docker", start_ts=TIME - 9)
    batch = batch_of({"type": "openat"}, {"type": "close"}, processes=[process], containers=[container])
    moved = corrected(batch, -HOUR)
    assert list(moved.columns["time"]) == [TIME - HOUR] * 2
    assert (moved.processes[0].start_time, moved.processes[0].exec_time) == (TIME - 5 - HOUR, TIME - 4 - HOUR)
    assert (moved.containers[0].start_ts, moved.created) == (TIME - 9 - HOUR, batch.created - HOUR)
    assert corrected(batch, 0) is batch


def test_a_time_that_leaves_its_column_is_refused() -> None:
    """A host that may be taken over wrote it."""
    with pytest.raises(BadBatch, match="no clock"):
        corrected(batch_of({"type": "openat", "time": 2**63 - 1}), HOUR)
