"""Tests of the correlate stage of one process."""

from collections.abc import Sequence

import pytest

from processor.correlation.correlator import Correlator
from processor.correlation.stage import CorrelateStage
from processor.correlation.state import StateChange
from processor.detection.stage import CompiledRuleset
from processor.matching.wire import TICK_KEY, message_of
from processor.output.internal_alerts import EVENTS_LOST, GROUPS_EVICTED
from tests.unit.processor.correlation.rules import (
    ALL_KINDS,
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


NESTED = ruleset_of(
    SSH,
    """
- macro: many_connections_again
  condition: many_ssh_connections
  correlation: {type: event_count, group-by: [fd.cip], timespan: 10m, condition: {gte: 3}}
- macro: few_connections_again
  condition: ssh_connection and not many_ssh_connections
  correlation: {type: event_count, group-by: [fd.cip], timespan: 10m, condition: {gte: 2}}
""",
    rule("many_connections_again", "%correlation.count", name="Again"),
    rule("few_connections_again", "%correlation.count", "suppress: {by: [fd.cip], for: 1s}", name="Few"),
    rule("many_ssh_connections", "%correlation.count", "suppress: {by: [fd.cip], for: 2s}", name="Many"),
)
"""A stateful macro that refers to another one."""
Table = dict[bytes, bytes | None]
"""The state of a partition, by the keys of its topic."""


def applied(
    ruleset: CompiledRuleset, messages: Sequence[tuple[bytes, bytes]], table: Table, first: int, end: int
) -> tuple[set[str], Sequence[StateChange]]:
    """Apply messages from one position to another; return the ids of the alerts and the changes in their order."""
    stage = CorrelateStage(ruleset.plan)
    stage.begin(0, [blob for blob in table.values() if blob is not None])
    ids = set()
    for offset in range(first, end):
        key, value = messages[offset]
        ids |= {alert.id for alert in stage.take(0, key, value, START + offset * SECOND, offset).alerts}
    return ids, stage.take_changes(0)


OVER_RULES = ruleset_of(
    SSH,
    """
- macro: two_rules
  correlation:
    type: value_count
    rules: [Connected, Trusted, Executed]
    timespan: 1m
    condition: {field: rule, gte: 2}
- macro: executed_then_connected
  correlation: {type: temporal_ordered, rules: [Executed, Connected], timespan: 1m}
""",
    rule("ssh_connection", name="Connected"),
    rule("ssh_connection and trusted_client", name="Trusted"),
    rule("evt.type = execve", name="Executed"),
    rule("two_rules", "%correlation.values", "suppress: {for: 1s}", name="Two"),
    rule("executed_then_connected", "then", "suppress: {for: 1s}", name="Then"),
    rule("evt.type = execve and not two_rules", "not", "suppress: {for: 1s}", name="Not"),
)
"""Macros whose legs are rules."""


@pytest.mark.parametrize("ruleset", [ALL_KINDS, NESTED, OVER_RULES], ids=["all kinds", "nested", "over rules"])
def test_a_takeover_after_part_of_the_state_was_written_repeats_and_loses_no_alert(ruleset: CompiledRuleset) -> None:
    """A broker may fail between two records of a batch; the next owner has the first ones and gets the batch again."""
    hosts = [Host(f"web-{number}") for number in range(4)]
    steps = [host.accept(second) for second, host in enumerate(hosts * 2)]
    steps += [hosts[0].download(8), hosts[0].run(9), hosts[1].accept(40)]
    steps += [hosts[1].run(60), hosts[2].run(61, "sh"), hosts[3].run(62, "sh"), hosts[0].run(63, "curl")]
    messages = [message_of(each) for each in pre_matches(ruleset, *steps)]
    expected, _ = applied(ruleset, messages, {}, 0, len(messages))
    assert len(expected) >= 3
    for first in range(len(messages)):
        before, changes = applied(ruleset, messages, {}, 0, first)
        table: Table = {change.record: change.blob for change in changes}
        for end in range(first + 1, len(messages) + 1):
            sent, written = applied(ruleset, messages, table, first, end)
            for count in range(len(written) + 1):
                partly = table | {change.record: change.blob for change in written[:count]}
                again, _ = applied(ruleset, messages, partly, first, len(messages))
                assert before | sent | again == expected, (first, end, count)
