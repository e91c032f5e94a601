"""Tests of packing what a batch gives to stateful rules."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from processor.correlation.correlator import Correlator
from processor.correlation.terms import AT_LEAST
from processor.detection.stage import CompiledRuleset
from processor.detection.view import BatchView
from processor.matching.gathered import SeenKey
from processor.matching.packing import PreMatchPacker
from processor.matching.pre_match import Notice, PreMatch
from processor.matching.wire import decode_pre_match, encode_pre_match
from processor.output.internal_alerts import CORRELATION_LIMITED
from schemas.alert import Alert
from schemas.batch import EventBatch, EventBit, Process
from tests.unit.processor.batches import batch_of
from tests.unit.processor.correlation.rules import ALL_KINDS, SECOND, START, rule, ruleset_of

REFUSED = ruleset_of(
    """
- macro: refused
  condition: evt.type = openat and evt.rawres < 0
- macro: many_refused
  condition: refused
  correlation:
    type: value_count
    group-by: [evt.hostname, user.uid]
    timespan: 1m
    condition: {field: fd.name, gte: 30}
- macro: often_refused
  condition: refused
  correlation: {type: event_count, group-by: [evt.hostname, proc.pid], timespan: 1m, condition: {gte: 40}}
""",
    rule("many_refused", "%correlation.count: %fd.name", name="Many"),
    rule("often_refused", "%correlation.count: %fd.name", name="Often"),
)
FLOODER, OTHER = 1000, 1001


def refused(names: Iterable[str], sequence: int = 1, *, uid: int = FLOODER, seconds: float = 0.0) -> EventBatch:
    """Return a batch in which a user is refused files, one a microsecond."""
    bits = int(EventBit.HAS_RES | EventBit.OPEN_READ)
    time = START + round(seconds * SECOND)
    return batch_of(
        *({"time": time + 1000 * number, "type": "openat", "fd_name": name, "res": -13, "bits": bits}
          for number, name in enumerate(names)),
        processes=[Process(pid=uid, name="find", exepath="/usr/bin/find", uid=uid, loginuid=-1)],
        host_id="web-1",
        hostname="web-1",
        sequence=sequence,
    )  # fmt: skip


class Fleet:
    """Both stages, with messages between them as bytes."""

    def __init__(self, ruleset: CompiledRuleset, *, messages_per_second: float = 100) -> None:
        self.ruleset = ruleset
        self.packer = PreMatchPacker(ruleset.plan, messages_per_second)
        self.correlator = Correlator(ruleset.plan)
        self.messages = 0
        self.forgotten: list[SeenKey] = []
        self.notices: list[Notice] = []

    def take(self, batch: EventBatch) -> list[Alert]:
        """Evaluate a batch; return its alerts."""
        now = batch.columns["time"][-1]
        found = list(self.ruleset.pre_matcher.process(BatchView(batch)))
        packed, notice = self.packer.pack(found, now, self.forgotten.extend)
        self.notices += [notice] if notice else []
        self.messages += len(packed)
        return self.correlator.process(map(sent, packed), now)


def sent(pre_match: PreMatch) -> PreMatch:
    """Return a message as it arrives."""
    return decode_pre_match(encode_pre_match(pre_match))


def names(count: int, of: str = "/srv/f") -> list[str]:
    """Return names of files."""
    return [f"{of}{number}" for number in range(count)]


def test_a_flood_of_one_group_is_few_messages_and_the_same_alert() -> None:
    """At most 200 messages for 20,000 refused files reach correlation; the alert names the thirtieth file."""
    fleet, alerts = Fleet(REFUSED), []
    files = names(20_000)
    for sequence in range(40):
        batch = refused(files[500 * sequence : 500 * (sequence + 1)], sequence, seconds=sequence / 7)
        alerts += fleet.take(batch)

    assert fleet.messages <= 200
    assert [(alert.rule, alert.output) for alert in alerts] == [("Many", "30: /srv/f29"), ("Often", "40: /srv/f39")]
    (many, often) = fleet.correlator.finish()
    counts = [alert.repeats and alert.repeats.count for alert in (many, often)]
    assert counts == [20_000 - 30, 20_000 - 40]


def test_a_value_that_comes_again_and_again_hides_no_other() -> None:
    """29 names at full speed, and then the thirtieth: it is the alert."""
    fleet = Fleet(REFUSED)
    for sequence in range(20):
        assert [alert.rule for alert in fleet.take(refused(names(29) * 17, sequence, seconds=sequence / 100))] == (
            ["Often"] if sequence == 0 else []
        )

    alerts = fleet.take(refused([*names(29) * 3, "/etc/shadow", *names(29) * 3], 20, seconds=1))

    assert [alert.output for alert in alerts] == ["30: /etc/shadow"]


def test_what_exceeds_a_budget_is_reported_and_leaves_room_to_others() -> None:
    """A flood of many groups is partly left out; another user's thirty files are all counted."""
    fleet = Fleet(REFUSED, messages_per_second=20)
    for sequence in range(10):
        batch = refused(names(500), sequence, seconds=sequence / 10)
        for number in range(500):
            batch.processes.append(replace(batch.processes[0], pid=10_000 + 500 * sequence + number))
            batch.columns["process"][number] = number + 1
        fleet.take(batch)

    alerts = fleet.take(refused(names(30), 10, uid=OTHER, seconds=1.5))

    assert [alert.output for alert in alerts if alert.rule == "Many"] == ["30: /srv/f29"]
    assert AT_LEAST not in alerts[0].output_fields
    left_out = sum(notice.numbers["events_not_correlated"] for notice in fleet.notices)
    assert fleet.packer.left_out == {"user": left_out}
    assert {notice.kind for notice in fleet.notices} == {CORRELATION_LIMITED}
    assert "user 1000 in no container caused more than 20 messages a second" in fleet.notices[0].text


def test_windows_of_whoever_exceeded_a_budget_count_at_least() -> None:
    """The text and a field of the alert state that there may be more."""
    fleet = Fleet(REFUSED, messages_per_second=1)
    alerts = [
        alert for number in range(40) for alert in fleet.take(refused(names(9, f"/{number}/"), number, seconds=number))
    ]

    assert fleet.packer.left_out
    assert {alert.output.split(":")[0] for alert in alerts} == {"at least 30", "at least 40"}
    assert all(alert.output_fields[AT_LEAST] is True for alert in alerts)


def test_a_batch_that_is_evaluated_again_by_another_process_counts_once() -> None:
    """Which events have content depends on what a process has seen; what windows count doesn't."""
    batches = [refused(names(39, f"/{number}/"), number, seconds=number / 10) for number in range(3)]
    once, twice = Fleet(REFUSED), Fleet(REFUSED)
    for batch in batches:
        once.take(batch)
        twice.take(batch)
        twice.packer, known = PreMatchPacker(REFUSED.plan), twice.packer
        twice.take(batch)
        twice.packer = known

    assert list(twice.correlator.store) == list(once.correlator.store)


def test_values_of_first_seen_that_are_left_out_come_again() -> None:
    """They are forgotten as sent, so that their next event teaches them."""
    ruleset = ruleset_of(
        """
- macro: new_file
  condition: evt.type = openat
  correlation: {type: first_seen, group-by: [evt.hostname], field: fd.name, lookback: 7d, learning: 1s}
""",
        rule("new_file", "%fd.name"),
    )
    fleet = Fleet(ruleset, messages_per_second=1)
    batch = refused(names(20))
    batch.appended = START
    fleet.take(batch)
    assert [value for _, _, value in fleet.forgotten] == names(20)[5:]


@st.composite
def batches(draw: st.DrawFn) -> list[EventBatch]:
    """Draw batches of several events each, of few files, processes and containers."""
    found, time = [], START
    for sequence in range(draw(st.integers(1, 3))):
        events: list[dict[str, Any]] = []
        for _ in range(draw(st.integers(1, 25))):
            time += draw(st.sampled_from([0, 0, 0, SECOND]))
            kind = draw(st.sampled_from(["accept4", "openat", "execve"]))
            bits = int(EventBit.HAS_RES | EventBit.OPEN_WRITE | EventBit.HAS_ROLE | EventBit.IS_SERVER)
            event = {
                "time": time,
                "type": kind,
                "process": {"accept4": 0, "openat": 1, "execve": 2}[kind],
                "bits": bits,
            }
            if kind == "accept4":
                event |= {"remote_ip": f"10.0.0.{draw(st.integers(1, 2))}", "local_ip": "10.0.0.9", "fd_type": "ipv4"}
            elif kind == "openat":
                event |= {"fd_name": f"/tmp/{draw(st.integers(1, 3))}", "fd_type": "file"}
            events.append(event)
        processes = [
            Process(pid=9 + row, name=name, exepath=f"/tmp/{name}", uid=row)
            for row, name in enumerate(("sshd", "curl", "evil"))
        ]
        found.append(batch_of(*events, processes=processes, sequence=sequence, first_number=1))
    return found


def outcome(correlator: Correlator, alerts: Sequence[Alert]) -> tuple[list[tuple[str, str]], Counter[str]]:
    """Return the alerts by rule and id, and how many matches of each rule were counted."""
    found = [*alerts, *correlator.finish()]
    counted: Counter[str] = Counter()
    for alert in found:
        counted[alert.rule] += 1 if alert.repeats is None else alert.repeats.count
    return sorted((alert.rule, alert.id) for alert in alerts if alert.repeats is None), counted


@settings(max_examples=60, deadline=None)
@given(batches())
def test_packed_events_make_the_same_alerts(given_batches: list[EventBatch]) -> None:
    """Without limits, packing changes neither the alerts nor their number."""
    plain, packed = Correlator(ALL_KINDS.plan), Fleet(ALL_KINDS, messages_per_second=0)
    expected: list[Alert] = []
    found: list[Alert] = []
    for batch in given_batches:
        now = batch.columns["time"][-1]
        expected += plain.process(list(ALL_KINDS.pre_matcher.process(BatchView(batch))), now)
        found += packed.take(batch)

    assert outcome(packed.correlator, found) == outcome(plain, expected)
