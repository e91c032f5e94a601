"""The clock is the broker's: no host and no processor can hold a window or repeats beyond their time."""

from collections.abc import Iterable
from dataclasses import replace

import pytest

from bus.messages import append_time
from processor.correlation.correlator import CLOCK_SLACK, GRACE_PERIOD, Correlator
from processor.correlation.groups import GroupState, decode_entry, encode_entry
from processor.correlation.stage import CorrelateStage
from processor.correlation.state import everything
from processor.detection.stage import CompiledRuleset
from processor.detection.view import BatchView
from processor.hosts.arrival import dated
from processor.matching.wire import TICK_KEY, message_of
from schemas.alert import Alert
from schemas.batch import EventBatch
from tests.unit.processor.correlation.rules import MINUTE, SECOND, SSH, START, STEPS, Host, rule, ruleset_of

YEARS = 50 * 365 * 86_400
"""In seconds."""
MANY = ruleset_of(SSH, rule("many_ssh_connections", "%correlation.count"))
THROTTLED = ruleset_of(rule("evt.type in (accept, accept4)", "x", "suppress: {by: [fd.cip], for: 10m}"))
STATEFUL = ruleset_of(
    SSH,
    STEPS,
    rule("many_ssh_connections", "%correlation.count", name="Many"),
    rule("on_many_hosts", "%correlation.values", name="Hosts"),
    rule("download_and_run", "d", name="Both"),
    rule("download_then_run", "d", name="Then"),
)


class Fleet:
    """One partition of the correlate topic: what hosts send is appended at the broker's time."""

    def __init__(self, ruleset: CompiledRuleset) -> None:
        self.ruleset = ruleset
        self.stage = CorrelateStage(ruleset.plan)
        self.stage.begin(0, [])
        self.offset = -1

    def send(self, batch: EventBatch, at: float) -> list[Alert]:
        """Deliver a batch at a time of the broker, s."""
        appended = append_time((START + round(at * SECOND)) // 1_000_000)
        batch, _ = dated(batch, appended, 0)
        return self._take((message_of(each) for each in self.ruleset.pre_matcher.process(BatchView(batch))), appended)

    def tick(self, at: float, claimed: float | None = None) -> list[Alert]:
        """Deliver a tick; claimed: the clock of the processor that sent it, where that is another."""
        said = b"%d" % (START + round((at if claimed is None else claimed) * SECOND))
        return self._take([(TICK_KEY, said)], START + round(at * SECOND))

    def taken_over(self) -> "Fleet":
        """Return another process that took over the partition."""
        other = Fleet(self.ruleset)
        other.stage.begin(0, self.stage.everything(0).values(), self.offset)
        other.offset = self.offset
        return other

    def _take(self, messages: Iterable[tuple[bytes, bytes]], appended: int) -> list[Alert]:
        found: list[Alert] = []
        for key, value in messages:
            self.offset += 1
            step = self.stage.take(0, key, value, appended, self.offset)
            assert step.refused == ""
            found += step.alerts
        return found


def outputs(alerts: Iterable[Alert]) -> list[str]:
    """Return the outputs of alerts."""
    return [alert.output for alert in alerts]


def test_events_dated_years_ahead_do_not_silence_a_window_of_the_fleet() -> None:
    """Another host's connections from the same client are alerted on as soon as the attacker's own repeats are over."""

    def brute_force(fleet: Fleet) -> list[Alert]:
        good = Host("victim")
        found = [fleet.send(good.accept(second), at=second + 0.2) for second in range(60, 600, 20)]
        return [alert for alerts in found for alert in alerts if alert.repeats is None]

    fleet, bad = Fleet(MANY), Host("evil")
    reported = [fleet.send(bad.accept(YEARS + number), at=number) for number in range(3)]
    assert list(map(len, reported)) == [0, 0, 1]

    found, alone = brute_force(fleet), brute_force(Fleet(MANY))

    assert {alert.hostname for alert in found} == {"victim"}
    assert len(found) == len(alone) == 7


def test_a_match_dated_years_ahead_does_not_silence_a_rule() -> None:
    """Its repeats end a period after it came; then others are reported again."""
    fleet, bad, good = Fleet(THROTTLED), Host("evil"), Host("victim")
    assert len(fleet.send(bad.accept(YEARS), at=0)) == 1
    assert fleet.send(good.accept(300), at=300) == []

    found = fleet.send(good.accept(900), at=900)

    assert outputs(found) == ["REPEATED 1 more time in 10m (evt.hostname: victim): x", "x"]
    assert found[-1].hostname == "victim"


def test_repeats_of_old_dates_do_not_put_off_their_summary() -> None:
    """Counting ends a period after it began, however many repeats come and whatever they are dated."""
    fleet, host = Fleet(THROTTLED), Host()
    fleet.send(host.accept(0), at=0)
    reported: list[Alert] = []
    for second in range(10, 700, 10):
        reported += fleet.send(host.accept(-3600), at=second)

    assert outputs(reported)[0].startswith("REPEATED 60 more times")


def test_a_tick_of_a_processor_with_a_wrong_clock_changes_nothing() -> None:
    """Summaries come, and what is over is forgotten, though one tick claimed to be of next month."""
    fleet, host = Fleet(THROTTLED), Host()
    fleet.send(host.accept(0, "9.9.9.9"), at=0)
    fleet.tick(1, claimed=30 * 86_400)
    summaries = 0
    for hour in range(24):
        for number in range(5):
            fleet.send(host.accept(3600 * hour + number, f"10.0.{hour}.1"), at=3600 * hour + number)
        for minute in range(1, 60):
            summaries += len(fleet.tick(3600 * hour + 60 * minute))

    assert summaries == 24
    assert fleet.stage.groups == 0


def test_ticks_are_not_needed_while_messages_come() -> None:
    """A flood of one group holds back no summary of another."""
    fleet, host = Fleet(THROTTLED), Host()
    fleet.send(host.accept(0, "10.0.0.1"), at=0)
    fleet.send(host.accept(1, "10.0.0.1"), at=1)

    found = fleet.send(host.accept(700, "10.0.0.2"), at=700)

    assert [alert.repeats is not None for alert in found] == [True, False]


@pytest.mark.parametrize("ruleset", [STATEFUL, THROTTLED], ids=["windows", "repeats"])
def test_state_of_the_future_is_repaired_at_the_next_take_over(ruleset: CompiledRuleset) -> None:
    """A release before this one let hosts and processors stamp what it remembered."""
    fleet, host = Fleet(ruleset), Host()
    for number in range(2):
        for act in (host.accept, host.download, host.run):
            fleet.send(act(number), at=number)
    poisoned = [_of_the_future(decode_entry(blob)) for blob in fleet.stage.everything(0).values()]
    assert poisoned

    heir = Fleet(ruleset)
    heir.stage.begin(0, map(encode_entry, poisoned), applied=10)
    heir.offset = 10
    heir.tick(60)

    assert heir.stage.take_repaired() == len(poisoned)
    assert heir.taken_over().stage.take_repaired() == 0
    for blob in heir.stage.everything(0).values():
        assert decode_entry(blob).touched <= START + 60 * SECOND
    assert heir.send(host.accept(700), at=700)[-1].output in ("1", "x") or ruleset is STATEFUL
    for hours in (1, 2):
        heir.tick(3600 * hours)
    assert heir.stage.groups == 0


def _of_the_future(entry: GroupState) -> GroupState:
    """Return what a former release would have remembered of a host whose clock is years ahead."""
    shifted = Correlator(STATEFUL.plan)
    shifted.state.load(encode_entry(entry))
    shifted.shift(YEARS * SECOND)
    (blob,) = everything(shifted.state).values()
    return decode_entry(blob)


def test_state_is_not_repaired_by_messages_that_are_older_than_it() -> None:
    """A process that dies before it acknowledges leaves state behind that is newer than what its heir reads first."""
    fleet, host = Fleet(MANY), Host()
    for number in range(2):
        fleet.send(host.accept(3600 * number), at=3600 * number)
    heir = fleet.taken_over()
    heir.offset = -1

    heir.send(Host().accept(0), at=0)
    assert heir.stage.take_repaired() == 0
    heir.offset = fleet.offset
    heir.tick(3601)
    assert heir.stage.take_repaired() == 0
    assert heir.stage.groups == 1


def test_a_brokers_clock_that_is_set_back_takes_all_along() -> None:
    """It was a year ahead for a while: what was counted in that time continues to count, and ends in time."""
    fleet, host, year = Fleet(THROTTLED), Host(), 365 * 86_400
    assert len(fleet.send(host.accept(year), at=year)) == 1
    assert fleet.send(host.accept(year + 1), at=year + 1) == []

    assert fleet.send(host.accept(60), at=60) == []
    assert outputs(fleet.tick(800)) == ["REPEATED 2 more times in 10m: x"]
    assert len(fleet.send(host.accept(801), at=801)) == 1


def test_clocks_of_brokers_may_differ_slightly() -> None:
    """Another broker leads the partition: nothing moves."""
    correlator, host = Correlator(MANY.plan), Host()
    now = START + 2 * MINUTE
    correlator.process(MANY.pre_matcher.process(BatchView(host.accept(60))), now)
    before = everything(correlator.state)

    assert correlator.tick(now - CLOCK_SLACK) == []
    assert everything(correlator.state) == before


def test_an_event_is_never_later_in_a_window_than_its_batch_came() -> None:
    """A host whose clock is nearly right can't push out another's events by a few seconds, again and again."""
    ruleset = ruleset_of(
        SSH.replace("timespan: 1m", "timespan: 2s").replace("{gte: 3}", "{gte: 2}"),
        rule("many_ssh_connections", "many"),
    )
    fleet, bad, good = Fleet(ruleset), Host("evil"), Host("victim")
    found: list[Alert] = []
    for second in range(0, 60, 5):
        # These are five seconds from each other, so they are no window of two seconds.
        found += fleet.send(bad.accept(second + 9), at=second)
        found += fleet.send(good.accept(second + 2.5), at=second + 2.6)
        found += fleet.send(good.accept(second + 2.6), at=second + 2.7)

    assert {alert.hostname for alert in found} == {"victim"}


def test_repeats_end_by_the_clock_even_if_nothing_comes() -> None:
    """A period after the first, and slightly later for those that are on their way."""
    fleet, host = Fleet(THROTTLED), Host()
    fleet.send(host.accept(0), at=0)
    fleet.send(replace(host.accept(1)), at=1)

    assert fleet.tick(600) == []
    assert len(fleet.tick(601 + GRACE_PERIOD / SECOND)) == 1
