from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from processor.correlation.correlator import Correlator
from processor.correlation.groups import decode_entry
from processor.correlation.state import everything
from processor.correlation.suppress import MAX_NAMES, MAX_SOURCES, OTHER, Tally, take_match
from processor.matching.pre_match import QUIET, Notice, PreMatch, notice_of
from processor.output.internal_alerts import EVENTS_LOST, FACTS_MISSING, Cause
from processor.splitting import Plan
from schemas.alert import Alert
from tests.unit.processor.correlation.rules import MINUTE, START

NOON = 1_795_530_690_000_000_000
SECOND = 1_000_000_000
RING = "events_ring_full"
PLAN = Plan((), ())


def test_the_sources_of_repeats_are_bounded() -> None:
    """A fleet that matches in one group does not make its state grow without end."""
    alert = Alert("id", START, "r", "Notice", "o", {})
    state = None
    for source in range(MAX_SOURCES + 10):
        state = take_match(state, (START, 1, source), lambda: alert, MINUTE).state

    assert state is not None
    assert len(state.sources) == MAX_SOURCES


def lost(sequence: int, number: int, host: str = "id-1") -> PreMatch:
    """Return the notice of a batch that reports losses."""
    cause = Cause(host, f"name of {host}", NOON, ("boot", 1, sequence))
    return notice_of(cause, Notice(EVENTS_LOST, "Warning", {RING: number}))


def taken_over(correlator: Correlator) -> Correlator:
    """Return another process's correlator, which read the table; this one died."""
    other = Correlator(PLAN)
    for blob in everything(correlator.state).values():
        other.state.load(blob)
    return other


def numbers(alerts: list[Alert]) -> list[object]:
    """Return what alerts count."""
    return [alert.output_fields[RING] for alert in alerts]


def test_the_first_is_reported_at_once_and_the_rest_as_a_sum() -> None:
    """At most one in five minutes a host, and nothing that was counted is left out."""
    correlator = Correlator(PLAN)
    (first,) = correlator.process([lost(7, 5)], NOON)
    assert first.output == f"5 events were lost | {RING}: 5"
    assert (first.rule, first.source, first.hostname, first.host_id) == (
        EVENTS_LOST,
        "internal",
        "name of id-1",
        "id-1",
    )
    for number in range(1, 5):
        assert correlator.process([lost(7 + number, number)], NOON + number * QUIET // 5) == []

    (second,) = correlator.tick(NOON + QUIET)

    assert numbers([second]) == [10]
    assert second.id != first.id
    assert correlator.tick(NOON + 2 * QUIET) == []
    assert len(correlator.store) == 0


def test_hosts_do_not_silence_each_other() -> None:
    """Each host has its own five minutes."""
    alerts = Correlator(PLAN).process([lost(1, 1), lost(1, 2, "id-2")], NOON)
    assert [alert.host_id for alert in alerts] == ["id-1", "id-2"]


def test_what_was_summed_outlives_the_process() -> None:
    """A crash in the five quiet minutes loses nothing, and what is delivered again is not counted again."""
    first = Correlator(PLAN)
    first.process([lost(1, 1)], NOON)
    first.process([lost(2, 20)], NOON + SECOND)

    second = taken_over(first)
    assert second.process([lost(2, 20), lost(3, 300)], NOON + 2 * SECOND) == []

    assert numbers(second.tick(NOON + QUIET)) == [320]


def test_the_same_batch_makes_the_same_id() -> None:
    """A loss reported twice after a crash can be distinguished from two losses."""
    assert Correlator(PLAN).process([lost(1, 1)], NOON) == Correlator(PLAN).process([lost(1, 1)], NOON + SECOND)


def test_a_sum_that_has_to_make_room_is_reported_at_once() -> None:
    """Nothing is dropped without being reported."""
    correlator = Correlator(PLAN, max_groups=1)
    correlator.process([lost(1, 1)], NOON)
    assert correlator.process([lost(2, 20)], NOON) == []

    other = replace(lost(3, 0), notice=Notice("another kind", "Warning", {RING: 3}))
    found = correlator.process([other], NOON)

    assert sorted(map(str, numbers(found))) == ["20", "3"]


def test_names_that_a_host_makes_up_fill_no_memory() -> None:
    """Beyond so many all are one sum."""
    correlator = Correlator(PLAN)
    correlator.process([lost(1, 1)], NOON)
    for sequence in range(2, 200):
        notice = Notice(EVENTS_LOST, "Warning", {f"reason-{sequence}": 1})
        correlator.process([replace(lost(sequence, 1), notice=notice)], NOON)

    (blob,) = everything(correlator.state).values()
    tally = decode_entry(blob).state
    assert isinstance(tally, Tally)
    assert len(tally.numbers) == MAX_NAMES + 1
    assert tally.numbers[OTHER] == 198 - MAX_NAMES


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.integers(1, 50), st.integers(0, 120), st.booleans()), max_size=30), st.data())
def test_what_is_reported_adds_up(losses: list[tuple[int, int, bool]], data: st.DataObject) -> None:
    """Whenever processes die, and whatever is delivered again: the sum of all alerts is the sum of all losses."""
    correlator, now, reported, delivered = Correlator(PLAN), NOON, 0, list[PreMatch]()
    for sequence, (number, seconds, dies) in enumerate(losses, 1):
        now += seconds * SECOND
        delivered.append(lost(sequence, number))
        alerts = correlator.process([delivered[-1]], now)
        if dies:
            correlator = taken_over(correlator)
            repeated = data.draw(st.integers(0, len(delivered)))
            alerts += correlator.process(delivered[len(delivered) - repeated :], now)
        reported += sum(map(int, map(str, numbers(alerts))))
    reported += sum(map(int, map(str, numbers(correlator.finish()))))

    assert reported == sum(number for number, _, _ in losses)


def test_a_few_stale_processes_are_no_alarm_and_many_are() -> None:
    """Some end while a collector starts. Facts that could not be read are reported at once: someone may delay it."""
    for numbers, is_alarm in (
        ({"process_stale": 99}, False),
        ({"process_stale": 100}, True),
        ({"process_stale": 2, "look_ups_given_up": 1}, True),
    ):
        correlator = Correlator(PLAN)
        cause = Cause("host-1", "web-1", NOON, ("boot", 1, 1))
        found = correlator.process([notice_of(cause, Notice(FACTS_MISSING, "Warning", numbers, "why"))], NOON)
        assert bool(found) is is_alarm
        assert bool(correlator.tick(NOON + 2 * QUIET)) is False


def test_stale_processes_are_summed_within_five_minutes_only() -> None:
    """A slow trickle never becomes an alarm; a fast one is reported when the five minutes are over."""
    correlator = Correlator(PLAN)
    for sequence, at in ((1, 0), (2, SECOND), (3, QUIET + SECOND), (4, 3 * QUIET)):
        cause = Cause("host-1", "web-1", NOON + at, ("boot", 1, sequence))
        notice = Notice(FACTS_MISSING, "Warning", {"process_stale": 60}, "why")
        found = correlator.process([notice_of(cause, notice)], NOON + at)
        assert [alert.output for alert in found] == ([] if sequence != 3 else ["why | process_stale: 120"])
