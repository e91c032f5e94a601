"""The memory as a whole: bounded, taken up by another process at any point, accounts that balance."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from processor.correlation.correlator import Correlator
from processor.correlation.state import everything, take_changes
from processor.correlation.suppress import Throttle
from processor.detection.view import BatchView
from processor.matching.pre_match import PreMatch
from processor.matching.wire import decode_pre_match, encode_pre_match
from processor.splitting import merged
from schemas.alert import Alert
from tests.unit.processor.correlation.rules import (
    ALL_KINDS,
    MINUTE,
    SECOND,
    SSH,
    START,
    Host,
    evaluator_of,
    pre_matches,
    restarted,
    rule,
    ruleset_of,
)


@st.composite
def deliveries(draw: st.DrawFn) -> list[PreMatch]:
    """Draw what three hosts do, each in its own order, and how it arrives: mixed, parts of it again after a crash."""
    queues = []
    for number in range(3):
        host, found, at = Host(f"web-{number}"), [], 0.0
        for act in draw(st.lists(st.sampled_from(["accept", "other", "download", "run"]), max_size=12)):
            at += draw(st.sampled_from([0, 1, 10, 29, 61]))
            batch = {
                "accept": lambda host=host, at=at: host.accept(at),
                "other": lambda host=host, at=at: host.accept(at, "10.0.0.2"),
                "download": lambda host=host, at=at: host.download(at),
                "run": lambda host=host, at=at: host.run(at),
            }[act]()
            found.append(pre_matches(ALL_KINDS, batch))
        queues.append([each for each in found if each])
    result: list[list[PreMatch]] = []
    while any(queues):
        queue = draw(st.sampled_from([queue for queue in queues if queue]))
        result.append(queue.pop(0))
        if draw(st.integers(0, 9)) == 0:
            result += result[-draw(st.integers(1, 5)) :]
    return [found for each in result for found in each]


def balance(alerts: list[Alert]) -> dict[str, int]:
    """Count by rule the alerts sent and the repeats reported."""
    counted: dict[str, int] = {}
    for alert in alerts:
        counted[alert.rule] = counted.get(alert.rule, 0) + (1 if alert.repeats is None else alert.repeats.count)
    return counted


@settings(max_examples=60, deadline=None)
@given(deliveries(), st.data())
def test_a_restart_at_any_point_changes_nothing(arrivals: list[PreMatch], data: st.DataObject) -> None:
    """Another process that takes up the snapshot, or the table, sends what this one would have sent."""
    cut = data.draw(st.integers(0, len(arrivals)))
    whole, first = Correlator(ALL_KINDS.plan), Correlator(ALL_KINDS.plan)
    expected = whole.process(arrivals) + whole.finish()

    before = first.process(arrivals[:cut])
    by_snapshot, by_table = restarted(first, ALL_KINDS), Correlator(ALL_KINDS.plan)
    for change in take_changes(first.state, first.macros):
        if change.blob is not None:
            by_table.state.load(change.blob)

    for second in (by_snapshot, by_table):
        alerts = before + second.process(arrivals[cut:])
        assert sorted((*alerts, *second.finish()), key=repr) == sorted(expected, key=repr)


@settings(max_examples=60, deadline=None)
@given(deliveries(), st.booleans())
def test_every_match_is_sent_or_reported_once(arrivals: list[PreMatch], ticks: bool) -> None:
    """Alerts and the repeats that summaries report are all matches there were, and no two alerts share an id."""
    correlator = Correlator(ALL_KINDS.plan)
    alerts: list[Alert] = []
    for index, arrival in enumerate(arrivals):
        alerts += correlator.process([arrival], START + index * 5 * SECOND if ticks else None)
    alerts += correlator.finish()

    matches = correlator.alerts + correlator.suppressed
    assert balance(alerts) == dict(matches)
    assert len({alert.id for alert in alerts}) == len(alerts)


@settings(max_examples=60, deadline=None)
@given(deliveries())
def test_an_alert_has_the_same_id_however_often_its_cause_comes(arrivals: list[PreMatch]) -> None:
    """The same matches once more, in a process without earlier state: the same alerts."""
    first, second = Correlator(ALL_KINDS.plan), Correlator(ALL_KINDS.plan)

    assert first.process(arrivals) == second.process(arrivals)
    assert first.process(arrivals) == []


@settings(max_examples=30, deadline=None)
@given(deliveries())
def test_the_way_over_the_wire_changes_no_alert(arrivals: list[PreMatch]) -> None:
    """One process and a fleet report the same."""
    near, far = Correlator(ALL_KINDS.plan), Correlator(ALL_KINDS.plan)

    sent = [decode_pre_match(encode_pre_match(arrival)) for arrival in arrivals]

    assert near.process(arrivals) + near.finish() == far.process(sent) + far.finish()


def test_an_event_that_represents_others_counts_as_all_of_them() -> None:
    """A connection and one that stands for three are four, of which two come when three are enough."""
    host = Host()
    evaluator = evaluator_of(SSH, rule("many_ssh_connections", "%correlation.count"))
    evaluator.process(host.accept(0))
    burst = host.accept(1)
    burst = replace(burst, columns={**burst.columns, "repeats": [2]})

    assert [alert.output for alert in evaluator.process(burst)] == ["4"]
    assert [alert.output for alert in evaluator.correlator.finish()] == ["REPEATED 1 more time in 1m: 4"]


def test_a_group_that_nobody_needs_any_more_is_forgotten() -> None:
    """State does not grow with time."""
    evaluator = evaluator_of(SSH, rule("many_ssh_connections"))
    host = Host()
    for number in range(100):
        evaluator.replay(host.accept(number * 60, f"10.0.0.{number}"))

    assert len(evaluator.correlator.store) <= 4
    evaluator.correlator.tick(START + 100 * 60 * MINUTE)
    assert len(evaluator.correlator.store) == 0
    assert {change.blob for change in take_changes(evaluator.correlator.state, evaluator.correlator.macros)} == {None}


def test_an_unchanged_macro_keeps_its_windows_over_a_change_of_rules() -> None:
    """Two connections before the change and one after it are three."""
    host = Host()
    evaluator = evaluator_of(SSH, rule("many_ssh_connections", "old"))
    evaluator.process(host.accept(0))
    evaluator.process(host.accept(1))

    evaluator.change_rules(ruleset_of(SSH, rule("many_ssh_connections and fd.cip exists", "new")))

    assert [alert.output for alert in evaluator.process(host.accept(2))] == ["new"]


@pytest.mark.parametrize("last", ["old", "new"])
def test_two_versions_count_in_one_window_while_processors_change_over(last: str) -> None:
    """Whichever version detects the third connection, it is the third, and reported as that version reports it."""
    host = Host()
    versions = {
        "old": ruleset_of(SSH, rule("many_ssh_connections", "old %correlation.count")),
        "new": ruleset_of(SSH, rule("many_ssh_connections", "%correlation.count new")),
    }
    correlator = Correlator(merged(ruleset.plan for ruleset in versions.values()))

    found = [
        correlator.process(versions[by].pre_matcher.process(BatchView(host.accept(number))))
        for number, by in enumerate(("old", "new", last))
    ]

    assert [[alert.output for alert in alerts] for alerts in found] == [
        [],
        [],
        [{"old": "old 3", "new": "3 new"}[last]],
    ]


def test_a_changed_macro_begins_again() -> None:
    """Its windows hold what another condition took."""
    host = Host()
    evaluator = evaluator_of(SSH, rule("many_ssh_connections"))
    evaluator.process(host.accept(0))
    evaluator.process(host.accept(1))

    evaluator.change_rules(ruleset_of(SSH.replace("timespan: 1m", "timespan: 2m"), rule("many_ssh_connections")))

    assert len(evaluator.correlator.store) == 0
    assert evaluator.process(host.accept(2)) == []


def test_repeats_of_a_rule_that_is_gone_are_reported_all_the_same() -> None:
    """Its summary comes when its time is over."""
    host = Host()
    evaluator = evaluator_of(rule("evt.type = openat", "%fd.name", "suppress: {by: [fd.name], for: 10s}"))
    evaluator.process(host.download(0))
    evaluator.process(host.download(1))

    evaluator.change_rules(ruleset_of(rule("evt.type = connect")))

    assert [alert.output for alert in evaluator.correlator.tick(START + MINUTE)] == [
        "REPEATED 1 more time in 10s: /tmp/evil"
    ]


def test_a_window_of_unknown_rules_waits_until_it_is_settled_whether_anybody_knows_them() -> None:
    """Rules that know it may be on their way; once they can't be, its key is deleted from the table."""
    ruleset, other = ruleset_of(SSH, rule("many_ssh_connections")), ruleset_of(rule("evt.type = connect")).plan
    first, host = Correlator(ruleset.plan), Host()
    first.process(pre_matches(ruleset, host.accept(0), host.accept(1)))
    table = {change.record: change.blob for change in take_changes(first.state, first.macros)}
    settled, waiting = Correlator(other), Correlator(other)
    for each in (settled, waiting):
        for blob in table.values():
            each.state.load(blob or b"")
        each.tick(START + 60 * MINUTE)
        assert not each.store.has_changes
    settled.change_rules(other)
    assert {change.record: change.blob for change in take_changes(settled.state, settled.macros)} == dict.fromkeys(
        table
    )
    assert len(settled.store) == 0

    waiting.change_rules(other, is_settled=False)
    waiting.change_rules(ruleset.plan)
    assert len(waiting.process(pre_matches(ruleset, host.accept(2)))) == 1


def test_terms_of_rules_that_are_not_known_here_are_counted() -> None:
    """Detection may have other rules for a short time."""
    correlator = Correlator(ruleset_of(rule("evt.type = connect")).plan)

    correlator.process(pre_matches(ALL_KINDS, Host().accept(0)))

    assert correlator.counts["unknown_term"] > 0


def test_state_that_cannot_be_encoded_costs_its_own_group_alone() -> None:
    """It is forgotten here and deleted from the table, its message is named, and the others are written."""
    ruleset, good, evil = ruleset_of(SSH, rule("many_ssh_connections")), Host(), Host("evil")
    correlator = Correlator(ruleset.plan)
    (wrong,) = pre_matches(ruleset, evil.accept(0, "10.6.6.6"))
    for cause, each in enumerate(
        (
            *pre_matches(ruleset, good.accept(0, "10.0.0.1")),
            replace(wrong, origin=replace(wrong.origin, sequence=2**62)),
            *pre_matches(ruleset, good.accept(1, "10.0.0.2")),
        )
    ):
        correlator.store.cause = cause
        correlator.process([each])

    first, failed, last = take_changes(correlator.state, correlator.macros)

    assert first.blob
    assert last.blob
    assert (failed.blob, failed.cause) == (None, 1)
    assert failed.fault.startswith("OverflowError")
    assert len(correlator.store) == 2
    assert correlator.store.evicted == {"evil": 1}
    assert not correlator.store.has_changes
    assert len(everything(correlator.state)) == 2


def test_a_count_of_repeats_that_cannot_be_reported_holds_up_no_other() -> None:
    """A tick ends the periods of the others all the same."""
    ruleset, host = ruleset_of(SSH, rule("ssh_connection", "%fd.cip", "suppress: {by: [fd.cip], for: 10m}")), Host()
    correlator = Correlator(ruleset.plan)
    for client in ("10.0.0.1", "10.0.0.2"):
        correlator.process(pre_matches(ruleset, host.accept(0, client), host.accept(1, client)))
    broken = next(iter(correlator.store))
    assert isinstance(broken.state, Throttle)
    correlator.store.put(replace(broken, state=replace(broken.state, alert=b"no alert")))

    alerts = correlator.tick(START + 60 * MINUTE)

    assert [alert.output.partition(": ")[2] for alert in alerts] == ["10.0.0.2"]
