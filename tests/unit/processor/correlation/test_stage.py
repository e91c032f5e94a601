"""Tests of the correlate stage of one process."""

from processor.correlation.correlator import Correlator
from processor.correlation.stage import CorrelateStage
from processor.correlation.wire import TICK_KEY, message_of
from processor.detection.internal_alerts import EVENTS_LOST, GROUPS_EVICTED
from tests.unit.processor.correlation.rules import (
    MINUTE,
    SECOND,
    SSH,
    START,
    Host,
    pre_matches,
    rule,
    ruleset_of,
)

RULESET = ruleset_of(SSH, rule("ssh_connection", "%fd.cip", "suppress: {by: [fd.cip], for: 10m}"))


def test_suppressed_matches_are_counted_across_partitions_and_reassignments() -> None:
    """The count neither restarts nor doubles when the process loses a partition and gets it back."""
    stage, host = CorrelateStage(RULESET.plan), Host()
    stage.begin(0, [])
    stage.begin(1, [])
    messages = [message_of(each) for each in pre_matches(RULESET, *(host.accept(second) for second in range(4)))]
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


def test_groups_that_were_evicted_are_reported() -> None:
    """By one alert a host, with the sum, that a restart does not lose."""
    ruleset = ruleset_of(SSH, rule("many_ssh_connections"))
    stage = CorrelateStage(ruleset.plan)
    stage.begin(0, [])
    stage._correlators[0] = Correlator(ruleset.plan, max_groups=10)
    reported, host = [], Host("loud")
    for number in range(30):
        for each in pre_matches(ruleset, host.accept(number / 100, f"10.9.9.{number}")):
            reported += stage.take(0, *message_of(each), START + SECOND, number).alerts
    stage.begin(0, stage.everything(0).values())

    later = stage.take(0, TICK_KEY, b"", START + 20 * MINUTE, 100).alerts

    assert [(alert.rule, alert.host_id) for alert in (*reported, *later)] == [(EVENTS_LOST, "loud")] * 2
    # The alert's own sum takes a place, too.
    assert sum(int(str(alert.output_fields[GROUPS_EVICTED])) for alert in (*reported, *later)) == 21
