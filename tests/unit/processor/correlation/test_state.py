import pytest
from hypothesis import given
from hypothesis import strategies as st

from processor.correlation.correlator import Correlator
from processor.correlation.groups import BadState, GroupState, decode_entry
from processor.correlation.state import read_snapshot
from tests.golden.messages import NOON, entries_0_1, golden_message, tally_0_2, throttle_0_3
from tests.unit.processor.correlation.rules import ALL_KINDS, SSH, Host, evaluator_of, pre_matches, rule


@pytest.mark.parametrize("data", [b"", b"x" * 100, b"LANNERM\x02" + bytes(100)])
def test_bytes_that_are_no_snapshot_are_refused(data: bytes) -> None:
    """And nothing is forgotten for them."""
    evaluator, host = evaluator_of(SSH, rule("many_ssh_connections")), Host()
    evaluator.process(host.accept(0))

    with pytest.raises(BadState):
        evaluator.correlator.restore(data)
    assert len(evaluator.correlator.store) == 1


@given(st.integers(0, 10_000), st.integers(0, 255))
def test_a_damaged_snapshot_is_refused(index: int, value: int) -> None:
    """Any other byte in it is noticed."""
    correlator = Correlator(ALL_KINDS.plan)
    host = Host()
    correlator.process(pre_matches(ALL_KINDS, *(host.accept(number) for number in range(4))))
    data = bytearray(correlator.snapshot())
    index %= len(data)
    before, data[index] = data[index], value

    if value != before:
        with pytest.raises(BadState):
            correlator.restore(bytes(data))


@pytest.mark.parametrize(
    ("name", "entries"),
    [("memory-0.1", entries_0_1()), ("memory-0.2", [tally_0_2()]), ("memory-0.3", [throttle_0_3()])],
)
def test_what_former_releases_remembered_is_read_for_ever(name: str, entries: list[GroupState]) -> None:
    """A table or a file that an upgrade finds."""
    now, blobs = read_snapshot(golden_message(name))

    assert now == NOON + 2
    assert [decode_entry(blob) for blob in blobs] == entries
