"""Rules that count by one group as legs of macros that count by another one."""

import zlib
from collections import Counter
from collections.abc import Sequence
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from processor.correlation.correlator import Correlator
from processor.correlation.stage import CorrelateStage, StageResult
from processor.evaluator import Evaluator
from processor.matching.pre_match import PreMatch
from processor.matching.wire import decode_pre_match, encode_pre_match, message_of
from tests.unit.processor.correlation import oracles
from tests.unit.processor.correlation.relayed import BY_HOST, CLIENTS, KINDS, RULESET, act
from tests.unit.processor.correlation.rules import (
    SECOND,
    START,
    Host,
    evaluator_of,
    pre_matches,
    restarted,
    rule,
    ruleset_of,
)


def test_a_rule_by_client_is_a_leg_of_a_macro_by_host() -> None:
    """The client's connections to all hosts count for its rule, and the event that completes it for its own host."""
    evaluator = Evaluator(RULESET)
    web, other = Host("web"), Host("other")
    batches = [act(web, "Download", 0), act(web, "Run", 1), act(other, "10.0.0.1", 2), act(other, "10.0.0.1", 3)]

    before = [alert.rule for batch in batches for alert in evaluator.replay(batch)]
    found = {alert.rule: alert for alert in evaluator.replay(act(web, "10.0.0.1", 4))}

    assert before == ["Download", "Run"]
    assert found.keys() == {"Accepts", "All kinds", "Both"}
    assert found["All kinds"].output == "Download, Run, Accepts on web"
    assert found["Both"].output == "10.0.0.1"
    assert found["Both"].hostname == "web"
    assert found["Both"].window is not None
    assert found["Both"].window.legs["Accepts"] == {"evt.time": START + 4 * SECOND, "fd.cip": "10.0.0.1"} | {
        "evt.hostname": "web"
    }


def test_an_event_that_comes_in_two_ways_is_one_match() -> None:
    """It matches a rule by itself, and completes one of another group."""
    evaluator = evaluator_of(
        f"""
- macro: accepts
  condition: evt.type = accept4
  correlation: {{type: event_count, group-by: [fd.cip], timespan: 2m, condition: {{gte: 2}}}}
- macro: any_kind
  correlation: {{type: value_count, rules: [Accepts, Accept], {BY_HOST}, condition: {{field: rule, gte: 1}}}}
- macro: events
  correlation: {{type: event_count, rules: [Accepts, Accept], {BY_HOST}, condition: {{gte: 1}}}}
""",
        rule("any_kind", "o", name="Any kind"),
        rule("events", "%correlation.count", name="Events"),
        rule("accepts", "o", name="Accepts"),
        rule("evt.type = accept4", "o", name="Accept"),
    )
    host = Host()
    before = [each.rule for each in evaluator.process(act(host, CLIENTS[0], 0))]
    alerts = [each.rule for each in evaluator.process(act(host, CLIENTS[0], 61))]

    assert before == ["Accept", "Any kind", "Events"]
    assert alerts == ["Accept", "Any kind", "Events", "Accepts"]
    assert evaluator.correlator.finish() == []


def test_groups_relay_the_events_of_a_host_in_any_order() -> None:
    """The later event arrives first: both match, however often they are delivered."""
    host = Host()
    ruleset = ruleset_of(
        f"""
- macro: accepts
  condition: evt.type = accept4
  correlation: {{type: event_count, group-by: [fd.cip], timespan: 1m, condition: {{gte: 1}}}}
- macro: events
  correlation: {{type: event_count, rules: [Accepts], {BY_HOST}, condition: {{gte: 2}}}}
""",
        rule("events", "o", name="Events"),
        rule("accepts", "o", name="Accepts"),
    )
    relayed = []
    for batch in (act(host, CLIENTS[0], 0), act(host, CLIENTS[1], 1), act(host, CLIENTS[0], 2)):
        owner = Correlator(ruleset.plan)
        for pre_match in pre_matches(ruleset, batch):
            owner.apply(pre_match, [])
        relayed += owner.take_relayed()
    correlator = Correlator(ruleset.plan)

    first, second, third = relayed
    for pre_match in (first, third, second, second, first, third):
        correlator.apply(pre_match, [])

    assert (correlator.alerts, correlator.suppressed) == ({"Events": 1}, {"Events": 1})


steps = st.tuples(st.integers(0, 1), st.sampled_from(KINDS), st.integers(0, 25), st.integers(1, 5))


@settings(max_examples=200, deadline=None)
@given(st.lists(steps, max_size=30), st.sets(st.integers(0, 29)), st.sets(st.integers(0, 29)))
def test_relayed_matches_equal_windows_that_keep_everything(
    drawn: list[tuple[int, str, int, int]], restarts: set[int], again: set[int]
) -> None:
    """On two hosts, with events that stand for several, restarts and events that are delivered again."""
    correlator, hosts = Correlator(RULESET.plan), (Host("a"), Host("b"))
    singles: list[tuple[int, str, oracles.Event]] = []
    at = 0
    for number, (which, kind, later, weight) in enumerate(drawn):
        # No two at once: which of these is the newer one depends on their hosts.
        at += 1000 * later + 1
        batch = act(hosts[which], kind, at / 1000, weight)
        singles += [(which, kind, (at, len(singles) + repeat, which)) for repeat in range(weight)]
        for _ in range(1 + (number in again)):
            correlator.process(_over_the_wire(pre_matches(RULESET, batch)))
        if number in restarts:
            counted = correlator.alerts, correlator.suppressed
            correlator = restarted(correlator, RULESET)
            correlator.alerts, correlator.suppressed = counted

    assert correlator.alerts + correlator.suppressed == +_matches(singles)


def _over_the_wire(sent: Sequence[PreMatch]) -> list[PreMatch]:
    return [decode_pre_match(encode_pre_match(each)) for each in sent]


def _matches(singles: list[tuple[int, str, oracles.Event]]) -> Counter[str]:
    """Return how often each stateful rule matches, by looking at single events."""
    kept = (60_000, 60_000)
    found: Counter[str] = Counter()
    met: set[oracles.Event] = set()
    for client in CLIENTS:
        accepts = [(stamp, 1) for _, kind, stamp in singles if kind == client]
        met |= _met(accepts, oracles.event_count(accepts, 3, *kept))
    matched = [(host, "Accepts" if kind in CLIENTS else kind, stamp) for host, kind, stamp in singles]
    matched = [each for each in matched if each[1] != "Accepts" or each[2] in met]
    matches: set[oracles.Event] = set()
    for host in (0, 1):
        here = [(stamp, kind) for its, kind, stamp in matched if its == host]
        counted = [(stamp, 1) for stamp, kind in here if kind != "Download"]
        matches |= _met(counted, oracles.event_count(counted, 4, *kept))
        legs = [(stamp, {("Accepts", "Run").index(kind)}) for stamp, kind in here if kind != "Download"]
        found["All kinds"] += len(_met(here, oracles.value_count(here, 3, *kept)))
        found["Both"] += len(_met(legs, oracles.temporal(legs, 2, *kept)))
    above = [(stamp, 1) for _, kind, stamp in matched if kind == "Download" or stamp in matches]
    met_above = _met(above, oracles.event_count(above, 2, *kept))
    return found + Counter({"Accepts": len(met), "Matches": len(matches), "Above": len(met_above)})


def _met(given_events: list[tuple[oracles.Event, Any]], answers: list[Any]) -> set[oracles.Event]:
    """Return the events for which a window is met."""
    return {
        stamp
        for (stamp, _), answer in zip(given_events, answers, strict=True)
        if answer not in (None, oracles.LATE, oracles.STALE)
    }


Message = tuple[bytes, bytes, int]
"""Key, value and the time at which the broker appended it."""


class Fleet:
    """Partitions of a topic, their tables and their owners, which may die between any two steps."""

    def __init__(self, partitions: int) -> None:
        self.logs: list[list[Message]] = [[] for _ in range(partitions)]
        self.alerts: set[str] = set()
        self._tables: list[dict[bytes, bytes]] = [{} for _ in self.logs]
        self._committed = [0] * partitions
        self._stages: list[CorrelateStage | None] = [None] * partitions
        self._now = START

    def send(self, messages: Sequence[tuple[bytes, bytes]]) -> None:
        """Append messages, each to its partition."""
        for key, value in messages:
            self._now += SECOND // 1000
            self.logs[zlib.crc32(key) % len(self.logs)].append((key, value, self._now))

    def work(self, partition: int, most: int, death: tuple[str, int] | None = None) -> None:
        """Apply a batch; death: after which step, and after how many of its messages."""
        log, table, first = self.logs[partition], self._tables[partition], self._committed[partition]
        stage = self._stages[partition] or _stage(table)
        self._stages[partition] = None
        results = [_take(stage, offset, log[offset]) for offset in range(first, min(first + most, len(log)))]
        relayed = [message for result in results for message in result.relayed]
        changes = stage.take_changes(0)
        step, count = death or ("", 0)
        self.send(relayed[: count if step == "sending" else None])
        if step == "sending":
            return
        self.alerts |= {alert.id for result in results for alert in result.alerts}
        for change in changes[: count if step == "writing" else None]:
            if change.blob is None:
                table.pop(change.record, None)
            else:
                table[change.record] = change.blob
        if step != "writing":
            self._committed[partition] = first + len(results)
            self._stages[partition] = stage

    def finish(self) -> None:
        """Apply everything."""
        while any(len(log) > done for log, done in zip(self.logs, self._committed, strict=True)):
            for partition in range(len(self.logs)):
                self.work(partition, 5)


def _stage(table: dict[bytes, bytes]) -> CorrelateStage:
    stage = CorrelateStage(RULESET.plan)
    stage.begin(0, table.values())
    return stage


def _take(stage: CorrelateStage, offset: int, message: Message) -> StageResult:
    key, value, appended = message
    result = stage.take(0, key, value, appended, offset)
    assert result.refused == ""
    return result


deaths = st.none() | st.tuples(st.sampled_from(["sending", "writing"]), st.integers(0, 6))
works = st.tuples(st.integers(0, 2), st.integers(1, 6), deaths)


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(steps, st.lists(works, max_size=4)), max_size=25))
def test_deaths_between_any_steps_of_a_fleet_change_nothing(
    drawn: list[tuple[tuple[int, str, int, int], list[tuple[int, int, tuple[str, int] | None]]]],
) -> None:
    """What each partition has got, without repetitions, makes the same alerts and relays in owners that never die."""
    fleet, hosts = Fleet(3), (Host("a"), Host("b"))
    seconds = 0
    for (which, kind, later, weight), orders in drawn:
        seconds += later
        batch = act(hosts[which], kind, seconds / 1000, weight)
        fleet.send([message_of(each) for each in pre_matches(RULESET, batch)])
        for order in orders:
            fleet.work(*order)
    fleet.finish()

    alerts: set[str] = set()
    relayed: set[bytes] = set()
    for log in fleet.logs:
        stage, first = _stage({}), dict[bytes, Message]()
        for message in log:
            first.setdefault(message[1], message)
        results = [_take(stage, offset, message) for offset, message in enumerate(first.values())]
        alerts |= {alert.id for result in results for alert in result.alerts}
        relayed |= {value for result in results for _, value in result.relayed}
    assert fleet.alerts == alerts
    assert {value for log in fleet.logs for _, value, _ in log if decode_pre_match(value).via} == relayed
