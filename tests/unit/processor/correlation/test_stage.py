"""Tests of the correlate stage of one process."""

from processor.correlation.stage import CorrelateStage
from processor.correlation.wire import message_of
from tests.unit.processor.correlation.rules import SSH, START, Host, judges_of, pre_matches, rule

JUDGES = judges_of(SSH, rule("ssh_connection", "%fd.cip", "suppress: {by: [fd.cip], for: 10m}"))


def test_suppressed_matches_are_counted_across_partitions_and_reassignments() -> None:
    """The count neither restarts nor doubles when the process loses a partition and gets it back."""
    stage, host = CorrelateStage(JUDGES.plan), Host()
    stage.begin(0, [])
    stage.begin(1, [])
    messages = [message_of(each) for each in pre_matches(JUDGES, *(host.accept(second) for second in range(4)))]
    for offset, (key, value) in enumerate(messages):
        stage.take(offset % 2, key, value, START, offset)
    assert stage.suppressed == {"Found": 2}

    stage.drop_all()
    stage.drop_all()
    assert stage.suppressed == {"Found": 2}

    stage.begin(0, [])
    for offset, (key, value) in enumerate(messages):
        stage.take(0, key, value, START, offset)
    assert stage.suppressed == {"Found": 5}
