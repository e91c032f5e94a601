from lanner.recorder.budget import ReadBudget
from lanner.recorder.store import StoredBatch
from tests.unit.recordings import shadow_read


def test_a_budget_ends_with_its_time() -> None:
    """The remark states what to do."""
    now = [0.0]
    budget = ReadBudget(20, 1000, lambda: now[0])
    assert (budget.is_spent(), budget.remark()) == (False, "")
    now[0] = 20
    assert budget.is_spent()
    assert budget.remark() == "Reading ended after 20 s: later events are missing. Show a shorter time."


def test_a_budget_ends_with_its_bytes() -> None:
    """Those of the messages that were read."""
    budget = ReadBudget(20, 3 << 20)
    for size in (2 << 20, 2 << 20):
        assert not budget.is_spent()
        budget.take(StoredBatch(shadow_read(), 0, size=size))
    assert budget.is_spent()
    assert "after 3 MiB" in budget.remark()


def test_a_reading_that_nobody_waits_for_ends_without_a_remark() -> None:
    """There is nobody to read it."""
    budget = ReadBudget()
    budget.cancel()
    assert (budget.is_spent(), budget.remark()) == (True, "")
