"""The memory as a whole: bounded, taken up by another process at any point, accounts that balance."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from processor.correlation.correlator import Correlator
from processor.correlation.plan.split import merged
from processor.correlation.pre_match import Candidate, Content, EventOrigin, Feed, Notice, PreMatch
from processor.correlation.stage import CorrelateStage
from processor.correlation.state.accounts import NEWCOMERS
from processor.correlation.state.entry import BadState, GroupState, decode_entry
from processor.correlation.state.snapshot import read_snapshot
from processor.correlation.suppress import MAX_SOURCES, Throttle, take_match
from processor.correlation.wire import TICK_KEY, BadPreMatch, decode_pre_match, encode_pre_match, group_key, message_of
from processor.detection.internal_alerts import EVENTS_LOST, GROUPS_EVICTED
from schemas.alert import Alert
from tests.golden.messages import NOON, entries_0_1, golden_message, pre_match_0_1, pre_match_0_2, tally_0_2
from tests.unit.processor.correlation.rules import (
    MINUTE,
    SECOND,
    SSH,
    START,
    STEPS,
    Host,
    judge_of,
    judges_of,
    pre_matches,
    restarted,
    rule,
)

JUDGES = judges_of(
    SSH,
    STEPS,
    rule("many_ssh_connections", "%correlation.count", name="Many"),
    rule("on_many_hosts", "%correlation.values", "suppress: {by: [fd.cip], for: 30s}", name="Hosts"),
    rule("download_and_run", "d", "suppress: {by: [container.id, evt.hostname], for: 30s}", name="Both"),
    rule("download_then_run", "%correlation.leg[downloaded_file].fd.name", name="Then"),
    rule("ssh_connection and not on_many_hosts", "n", "suppress: {by: [fd.cip], for: 20s}", name="Few"),
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
            found.append(pre_matches(JUDGES, batch))
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
    whole, first = Correlator(JUDGES.plan), Correlator(JUDGES.plan)
    expected = whole.process(arrivals) + whole.finish()

    before = first.process(arrivals[:cut])
    by_snapshot, by_table = restarted(first, JUDGES), Correlator(JUDGES.plan)
    for change in first.take_changes():
        if change.blob is not None:
            by_table.load(change.blob)

    for second in (by_snapshot, by_table):
        alerts = before + second.process(arrivals[cut:])
        assert sorted((*alerts, *second.finish()), key=repr) == sorted(expected, key=repr)


@settings(max_examples=60, deadline=None)
@given(deliveries(), st.booleans())
def test_every_match_is_sent_or_told_once(arrivals: list[PreMatch], ticks: bool) -> None:
    """Alerts and the repeats that summaries report are all matches there were, and no two alerts share an id."""
    correlator = Correlator(JUDGES.plan, settle=5 * SECOND)
    alerts: list[Alert] = []
    for place, arrival in enumerate(arrivals):
        alerts += correlator.process([arrival], START + place * 5 * SECOND if ticks else None)
    alerts += correlator.finish()

    matches = correlator.alerts + correlator.suppressed
    assert balance(alerts) == dict(matches)
    assert len({alert.id for alert in alerts}) == len(alerts)


@settings(max_examples=60, deadline=None)
@given(deliveries())
def test_an_alert_has_the_same_id_however_often_its_cause_comes(arrivals: list[PreMatch]) -> None:
    """The same matches once more, in a process without earlier state: the same alerts."""
    first, second = Correlator(JUDGES.plan), Correlator(JUDGES.plan)

    assert first.process(arrivals) == second.process(arrivals)
    assert first.process(arrivals) == []


@settings(max_examples=30, deadline=None)
@given(deliveries())
def test_the_way_over_the_wire_changes_no_alert(arrivals: list[PreMatch]) -> None:
    """One process and a fleet report the same."""
    near, far = Correlator(JUDGES.plan), Correlator(JUDGES.plan)

    sent = [decode_pre_match(encode_pre_match(arrival)) for arrival in arrivals]

    assert near.process(arrivals) + near.finish() == far.process(sent) + far.finish()


def test_a_flood_of_groups_evicts_those_of_its_own_host() -> None:
    """What another host did before is still known, and the number of groups evicted is reported."""
    judges = judges_of(SSH, rule("many_ssh_connections"))
    correlator = Correlator(judges.plan, max_groups=50)
    quiet, loud = Host("quiet"), Host("loud")
    correlator.process(pre_matches(judges, quiet.accept(0, "10.0.0.1"), quiet.accept(1, "10.0.0.1")))

    for number in range(500):
        correlator.process(pre_matches(judges, loud.accept(2, f"10.1.{number // 250}.{number % 250}")))

    assert correlator.groups == 50
    assert correlator.evicted == {"loud": 451}
    assert len(correlator.process(pre_matches(judges, quiet.accept(3, "10.0.0.1")))) == 1


def test_groups_under_made_up_host_ids_push_out_no_known_host() -> None:
    """A host with five windows is not the one with the most among a hundred thousand ids with one each."""
    judges = judges_of(SSH, rule("many_ssh_connections"))
    correlator, victim = Correlator(judges.plan, max_groups=500), Host("victim")
    for at in (0, 1):
        correlator.process(pre_matches(judges, *(victim.accept(at, f"10.9.9.{client}") for client in range(5))))

    for number in range(2_000):
        batch = replace(Host(f"made-up-{number}").accept(2, f"2001:db8::{number:x}"), is_established=False)
        correlator.process(pre_matches(judges, batch))

    assert correlator.groups == 500
    assert correlator.evicted == {NEWCOMERS: 1505}
    fifth = [correlator.process(pre_matches(judges, victim.accept(3, f"10.9.9.{client}"))) for client in range(5)]
    assert list(map(len, fifth)) == [1] * 5


def test_a_group_that_a_newcomer_made_counts_for_the_known_host_that_touches_it() -> None:
    """Whoever makes the groups of others first can't have them forgotten with its own."""
    judges = judges_of(SSH, rule("many_ssh_connections"))
    correlator, victim = Correlator(judges.plan, max_groups=10), Host("victim")
    for seconds, host in ((0, Host("new")), (1, victim)):
        batch = replace(host.accept(seconds), is_established=host is victim)
        correlator.process(pre_matches(judges, batch))
    for number in range(50):
        batch = replace(Host("new").accept(2, f"10.9.9.{number}"), is_established=False)
        correlator.process(pre_matches(judges, batch))

    assert len(correlator.process(pre_matches(judges, victim.accept(3)))) == 1


def test_groups_that_had_to_go_are_told() -> None:
    """By one alert a host, with the sum, that a restart does not lose."""
    judges = judges_of(SSH, rule("many_ssh_connections"))
    stage = CorrelateStage(judges.plan)
    stage.begin(0, [])
    stage._correlators[0] = Correlator(judges.plan, max_groups=10)
    told, host = [], Host("loud")
    for number in range(30):
        for each in pre_matches(judges, host.accept(number / 100, f"10.9.9.{number}")):
            told += stage.take(0, *message_of(each), START + SECOND, number).alerts
    stage.begin(0, stage.everything(0).values())

    later = stage.take(0, TICK_KEY, b"", START + 20 * MINUTE, 100).alerts

    assert [(alert.rule, alert.host_id) for alert in (*told, *later)] == [(EVENTS_LOST, "loud")] * 2
    # The alert's own sum takes a place, too.
    assert sum(int(str(alert.output_fields[GROUPS_EVICTED])) for alert in (*told, *later)) == 21


def test_repeats_of_an_evicted_group_are_told_at_once() -> None:
    """Nothing is dropped without being counted."""
    judges = judges_of(rule("evt.type = openat", "%fd.name", "suppress: {by: [fd.name], for: 10m}"))
    correlator = Correlator(judges.plan, max_groups=2)
    host = Host()

    alerts = correlator.process(
        pre_matches(judges, host.download(0, "/a"), host.download(1, "/a"), *(host.download(2, f"/{n}") for n in "bc"))
    )

    assert [alert.output for alert in alerts] == ["/a", "/b", "/c", "REPEATED 1 more time in 10m: /a"]


def test_an_event_that_stands_for_others_counts_as_all_of_them() -> None:
    """A connection and one that stands for three are four, of which two come when three are enough."""
    host = Host()
    judge = judge_of(SSH, rule("many_ssh_connections", "%correlation.count"))
    judge.process(host.accept(0))
    burst = host.accept(1)
    burst = replace(burst, columns={**burst.columns, "repeats": [2]})

    assert [alert.output for alert in judge.process(burst)] == ["4"]
    assert [alert.output for alert in judge.correlator.finish()] == ["REPEATED 1 more time in 1m: 4"]


def test_a_group_that_nobody_needs_any_more_is_forgotten() -> None:
    """State does not grow with time."""
    judge = judge_of(SSH, rule("many_ssh_connections"))
    host = Host()
    for number in range(100):
        judge.replay(host.accept(number * 60, f"10.0.0.{number}"))

    assert judge.correlator.groups <= 4
    judge.correlator.tick(START + 100 * 60 * MINUTE)
    assert judge.correlator.groups == 0
    assert {change.blob for change in judge.correlator.take_changes()} == {None}


def test_the_sources_of_repeats_are_bounded() -> None:
    """A fleet that matches in one group does not make its state grow without end."""
    alert = Alert("id", START, "r", "Notice", "o", {})
    state = None
    for source in range(MAX_SOURCES + 10):
        state = take_match(state, (START, 1, source), lambda: alert, MINUTE).state

    assert state is not None
    assert len(state.sources) == MAX_SOURCES


def test_an_unchanged_macro_keeps_its_windows_over_a_change_of_rules() -> None:
    """Two connections before the change and one after it are three."""
    host = Host()
    judge = judge_of(SSH, rule("many_ssh_connections", "old"))
    judge.process(host.accept(0))
    judge.process(host.accept(1))

    judge.change_rules(judges_of(SSH, rule("many_ssh_connections and fd.cip exists", "new")))

    assert [alert.output for alert in judge.process(host.accept(2))] == ["new"]


@pytest.mark.parametrize("last", ["old", "new"])
def test_two_versions_count_in_one_window_while_processors_change_over(last: str) -> None:
    """Whichever version detects the third connection, it is the third, and reported as that version reports it."""
    host = Host()
    versions = {
        "old": judges_of(SSH, rule("many_ssh_connections", "old %correlation.count")),
        "new": judges_of(SSH, rule("many_ssh_connections", "%correlation.count new")),
    }
    correlator = Correlator(merged(judges.plan for judges in versions.values()))

    found = [
        correlator.process(versions[by].pre_matcher.process(host.accept(number)))
        for number, by in enumerate(("old", "new", last))
    ]

    assert [[alert.output for alert in alerts] for alerts in found] == [
        [],
        [],
        [{"old": "old 3", "new": "3 new"}[last]],
    ]


def test_a_changed_macro_begins_anew() -> None:
    """Its windows hold what another condition took."""
    host = Host()
    judge = judge_of(SSH, rule("many_ssh_connections"))
    judge.process(host.accept(0))
    judge.process(host.accept(1))

    judge.change_rules(judges_of(SSH.replace("timespan: 1m", "timespan: 2m"), rule("many_ssh_connections")))

    assert judge.correlator.groups == 0
    assert judge.process(host.accept(2)) == []


def test_repeats_of_a_rule_that_is_gone_are_told_all_the_same() -> None:
    """Its summary comes when its time is over."""
    host = Host()
    judge = judge_of(rule("evt.type = openat", "%fd.name", "suppress: {by: [fd.name], for: 10s}"))
    judge.process(host.download(0))
    judge.process(host.download(1))

    judge.change_rules(judges_of(rule("evt.type = connect")))

    assert [alert.output for alert in judge.correlator.tick(START + MINUTE)] == [
        "REPEATED 1 more time in 10s: /tmp/evil"
    ]


@pytest.mark.parametrize("data", [b"", b"x" * 100, b"LANNERM\x02" + bytes(100)])
def test_bytes_that_are_no_snapshot_are_refused(data: bytes) -> None:
    """And nothing is forgotten for them."""
    judge, host = judge_of(SSH, rule("many_ssh_connections")), Host()
    judge.process(host.accept(0))

    with pytest.raises(BadState):
        judge.correlator.restore(data)
    assert judge.correlator.groups == 1


@given(st.integers(0, 10_000), st.integers(0, 255))
def test_a_damaged_snapshot_is_refused(place: int, value: int) -> None:
    """Any other byte in it is noticed."""
    correlator = Correlator(JUDGES.plan)
    host = Host()
    correlator.process(pre_matches(JUDGES, *(host.accept(number) for number in range(4))))
    data = bytearray(correlator.snapshot())
    place %= len(data)
    before, data[place] = data[place], value

    if value != before:
        with pytest.raises(BadState):
            correlator.restore(bytes(data))


def test_a_window_of_unknown_rules_waits_until_it_is_settled_whether_anybody_knows_them() -> None:
    """Rules that know it may be on their way; once they can't be, its key is deleted from the table."""
    judges, other = judges_of(SSH, rule("many_ssh_connections")), judges_of(rule("evt.type = connect")).plan
    first, host = Correlator(judges.plan), Host()
    first.process(pre_matches(judges, host.accept(0), host.accept(1)))
    table = {change.record: change.blob for change in first.take_changes()}
    settled, waiting = Correlator(other), Correlator(other)
    for each in (settled, waiting):
        for blob in table.values():
            each.load(blob or b"")
        each.tick(START + 60 * MINUTE)
        assert not each.has_changes
    settled.change_rules(other)
    assert {change.record: change.blob for change in settled.take_changes()} == dict.fromkeys(table)
    assert settled.groups == 0

    waiting.change_rules(other, is_settled=False)
    waiting.change_rules(judges.plan)
    assert len(waiting.process(pre_matches(judges, host.accept(2)))) == 1


def test_terms_of_rules_that_are_not_known_here_are_counted() -> None:
    """Detection may have other rules for a short time."""
    correlator = Correlator(judges_of(rule("evt.type = connect")).plan)

    correlator.process(pre_matches(JUDGES, Host().accept(0)))

    assert correlator.counts["unknown_term"] > 0


_texts = st.text() | st.sampled_from(["\udcff", "\ud800", ""])
_values: Any = st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | _texts | st.lists(_texts).map(tuple)
_fields = st.dictionaries(st.text(st.characters(codec="utf-8")), _values, max_size=3)
_groups = st.lists(st.none() | _texts, max_size=3).map(tuple)
_contents = st.builds(Content, st.lists(_texts).map(tuple), _fields, _fields)
_clocks = st.integers(-(2**62), 2**62 - 1)
_names = st.text(st.characters(codec="utf-8"), max_size=5)


def _candidate(term: str, by: tuple[str | None, ...], content: Content) -> Candidate:
    return Candidate(term, by, lambda: content)


@given(
    st.builds(
        PreMatch,
        st.builds(EventOrigin, _names, _names, _clocks, st.integers(0, 2**40 - 1), st.integers(0, 10**5)),
        _clocks,
        _texts,
        _groups,
        st.lists(st.builds(Feed, _names, st.none() | _texts, _fields), max_size=2).map(tuple),
        st.lists(st.builds(_candidate, _names, _groups, _contents), max_size=2).map(tuple),
        st.integers(0, 2**62),
        st.booleans(),
        st.integers(1, 2**40),
        st.none()
        | st.builds(Notice, _names, _names, st.dictionaries(_names, st.integers(0, 2**62), max_size=2), _texts),
    )
)
def test_a_pre_matched_event_comes_back_as_it_went(pre_match: PreMatch) -> None:
    """Bytes that are no text included: what decides must not change on the way."""
    back = decode_pre_match(encode_pre_match(pre_match))

    assert replace(back, candidates=()) == replace(pre_match, candidates=())
    for read, written in zip(back.candidates, pre_match.candidates, strict=True):
        assert (read.term, read.by, read.content()) == (written.term, written.by, written.content())


@pytest.mark.parametrize(("name", "written"), [("pre_match-0.1", pre_match_0_1()), ("pre_match-0.2", pre_match_0_2())])
def test_the_pre_matched_events_of_former_releases_are_read_for_ever(name: str, written: PreMatch) -> None:
    """What waits for correlation was written by the processor before an upgrade."""
    back = decode_pre_match(golden_message(name))

    assert replace(back, candidates=()) == replace(written, candidates=())
    assert [each.content() for each in back.candidates] == [each.content() for each in written.candidates]


@pytest.mark.parametrize(("name", "entries"), [("memory-0.1", entries_0_1()), ("memory-0.2", [tally_0_2()])])
def test_what_former_releases_remembered_is_read_for_ever(name: str, entries: list[GroupState]) -> None:
    """A table or a file that an upgrade finds."""
    now, blobs = read_snapshot(golden_message(name))

    assert now == NOON + 2
    assert [decode_entry(blob) for blob in blobs] == entries


@given(st.binary(max_size=50))
def test_bytes_that_are_no_pre_matched_event_are_refused(data: bytes) -> None:
    """With or without the right beginning."""
    whole = encode_pre_match(PreMatch(EventOrigin("h", "b", 1, 2, 3), 4, "web", ("g",)))
    for wrong in (data, whole[:10] + data, whole[: len(whole) // 2]):
        try:
            decode_pre_match(wrong)
        except BadPreMatch:
            continue


@given(_groups, _groups)
def test_no_two_groups_share_a_key(one: tuple[str | None, ...], other: tuple[str | None, ...]) -> None:
    """Values that run into each other, missing ones and empty ones stay apart."""
    assert (group_key(one) == group_key(other)) == (one == other)


@pytest.mark.parametrize(
    "wrong",
    [
        {"sequence": 2**43},
        {"sequence": -1},
        {"index": 2**20},
        {"index": -1},
        {"collector_start": 2**62},
        {"time": 2**62},
    ],
)
def test_an_event_whose_place_no_state_can_hold_is_refused(wrong: dict[str, int]) -> None:
    """It may be in the topic from before its batch was checked; the state of others is written all the same."""
    (event,) = pre_matches(JUDGES, Host().accept(0))[:1]
    origin = replace(event.origin, **{name: value for name, value in wrong.items() if name != "time"})
    hostile = encode_pre_match(replace(event, origin=origin, time=wrong.get("time", event.time)))
    with pytest.raises(BadPreMatch, match=r"out of range|no clock shows"):
        decode_pre_match(hostile)
    stage = CorrelateStage(JUDGES.plan)
    stage.begin(0, [])
    assert not stage.take(0, *message_of(event), START, 0).refused
    assert stage.take(0, b"", hostile, START, 1).refused.startswith("not decodable: ")
    assert all(change.blob for change in stage.take_changes(0))


def test_state_that_cannot_be_encoded_costs_its_own_group_alone() -> None:
    """It is forgotten here and deleted from the table, its message is named, and the others are written."""
    judges, good, evil = judges_of(SSH, rule("many_ssh_connections")), Host(), Host("evil")
    correlator = Correlator(judges.plan)
    (wrong,) = pre_matches(judges, evil.accept(0, "10.6.6.6"))
    for cause, each in enumerate(
        (
            *pre_matches(judges, good.accept(0, "10.0.0.1")),
            replace(wrong, origin=replace(wrong.origin, sequence=2**62)),
            *pre_matches(judges, good.accept(1, "10.0.0.2")),
        )
    ):
        correlator.note_cause(cause)
        correlator.process([each])

    first, failed, last = correlator.take_changes()

    assert first.blob
    assert last.blob
    assert (failed.blob, failed.cause) == (None, 1)
    assert failed.fault.startswith("OverflowError")
    assert correlator.groups == 2
    assert correlator.evicted == {"evil": 1}
    assert not correlator.has_changes
    assert len(correlator.everything()) == 2


def test_a_count_of_repeats_that_cannot_be_told_holds_up_no_other() -> None:
    """A tick ends the periods of the others all the same."""
    judges, host = judges_of(SSH, rule("ssh_connection", "%fd.cip", "suppress: {by: [fd.cip], for: 10m}")), Host()
    correlator = Correlator(judges.plan)
    for client in ("10.0.0.1", "10.0.0.2"):
        correlator.process(pre_matches(judges, host.accept(0, client), host.accept(1, client)))
    broken = next(iter(correlator._store))
    assert isinstance(broken.state, Throttle)
    correlator._store.put(replace(broken, state=replace(broken.state, alert=b"no alert")))

    alerts = correlator.tick(START + 60 * MINUTE)

    assert [alert.output.partition(": ")[2] for alert in alerts] == ["10.0.0.2"]
