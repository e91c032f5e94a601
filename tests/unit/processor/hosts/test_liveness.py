from dataclasses import dataclass

from processor.hosts.liveness import HOST_BACK, HOST_SILENT, HOST_STOPPED, HostLiveness
from schemas.alert import Alert

NOON = 1_795_530_690_000
MINUTE = 60_000


@dataclass(frozen=True)
class Batch:
    sequence: int = 7
    host_id: str = "id-1"
    hostname: str = "web-3"
    boot_id: str = "boot"
    collector_start: int = 100
    previous_start: int = 0
    previous_sequence: int = -1
    stopping: bool = False


def rules(alerts: list[Alert]) -> list[str]:
    """Return the names of the alerts' rules."""
    return [alert.rule for alert in alerts]


def test_a_host_that_stops_sending_is_reported_once() -> None:
    """After two minutes by the broker's clock, and not again."""
    silence = HostLiveness()
    assert silence.see(0, Batch(), NOON) == []
    assert silence.overdue(NOON + 2 * MINUTE) == frozenset()
    assert silence.overdue(NOON + 2 * MINUTE + 1) == {0}
    (reported,) = silence.due([0], NOON + 2 * MINUTE + 1)
    assert (reported.rule, reported.hostname, reported.priority) == (HOST_SILENT, "web-3", "Warning")
    assert reported.time == (NOON + 2 * MINUTE) * 1_000_000
    assert silence.due([0], NOON + 10 * MINUTE) == []


def test_a_host_that_sends_again_is_back() -> None:
    """With how long it was silent."""
    silence = HostLiveness()
    silence.see(0, Batch(), NOON)
    silence.due([0], NOON + 3 * MINUTE)
    (back,) = silence.see(0, Batch(8), NOON + 5 * MINUTE)
    assert (back.rule, back.output_fields["silent_seconds"]) == (HOST_BACK, 300)
    assert silence.see(0, Batch(9), NOON + 5 * MINUTE + 5) == []


def test_a_partition_that_is_not_read_to_its_end_reports_nothing_of_silence() -> None:
    """The host's newest batches may be what is unread."""
    silence = HostLiveness()
    silence.see(0, Batch(), NOON)
    silence.see(1, Batch(host_id="id-2"), NOON)
    assert rules(silence.due([1], NOON + 3 * MINUTE)) == [HOST_SILENT]
    assert silence.overdue(NOON + 3 * MINUTE) == {0}


def test_a_silence_that_nobody_saw_is_reported_at_its_end() -> None:
    """All processors were down at the time: the log shows it, with the id that it would have had."""
    awake, late = HostLiveness(), HostLiveness()
    awake.see(0, Batch(), NOON)
    (at_once,) = awake.due([0], NOON + 3 * MINUTE)
    late.see(0, Batch(), NOON)
    silent, back = late.see(0, Batch(8), NOON + 9 * MINUTE)
    assert silent.id == at_once.id
    assert back.rule == HOST_BACK


def test_who_takes_over_reports_the_same_silence() -> None:
    """It looks back at what was evaluated before; an alert reported twice has one id."""
    before, after = HostLiveness(), HostLiveness()
    for silence in (before, after):
        silence.recall(3, Batch(6), NOON - 1000)
        silence.recall(3, Batch(7), NOON)
        silence.recalled(3, NOON - 10 * MINUTE)
    (first,) = before.due([3], NOON + 3 * MINUTE)
    (repeated,) = after.due([3], NOON + 4 * MINUTE)
    assert first.id == repeated.id
    ends = [silence.see(3, Batch(8), NOON + 5 * MINUTE) for silence in (before, after)]
    assert [rules(end) for end in ends] == [[HOST_BACK]] * 2
    assert ends[0][0].id == ends[1][0].id


def test_a_host_that_was_silent_since_before_the_look_back_is_back_too() -> None:
    """It has been here before: it doesn't count from 1, or names the start before."""
    silence = HostLiveness()
    silence.recalled(3, NOON - 10 * MINUTE)
    assert rules(silence.see(3, Batch(400), NOON)) == [HOST_BACK]
    assert rules(silence.see(3, Batch(1, host_id="id-2", previous_start=50), NOON)) == [HOST_BACK]
    assert silence.see(3, Batch(1, host_id="new"), NOON) == []
    assert silence.see(4, Batch(400, host_id="nothing-known"), NOON) == []


def test_where_nothing_was_recalled_hosts_are_known_from_the_first_message_on() -> None:
    """A host that appears for the first time was silent at least since then."""
    silence = HostLiveness()
    silence.see(3, Batch(), NOON)
    assert silence.see(3, Batch(400, host_id="id-2"), NOON + MINUTE) == []
    (back,) = silence.see(3, Batch(400, host_id="id-3"), NOON + 5 * MINUTE)
    assert (back.rule, back.output_fields["silent_seconds"]) == (HOST_BACK, 300)


def test_a_successor_learns_of_quiet_hosts_and_since_when_they_are_all_known() -> None:
    """It reports what the former owner would have reported."""
    before, after = HostLiveness(), HostLiveness()
    before.recalled(3, NOON - 10 * MINUTE)
    before.see(3, Batch(), NOON)
    before.see(3, Batch(host_id="id-2", stopping=True), NOON + 1000)
    before.see(3, Batch(host_id="awake"), NOON + MINUTE)
    before.see(4, Batch(host_id="elsewhere"), NOON)
    quiet = before.quiet({3: NOON + MINUTE, 4: NOON, 5: NOON})
    since, hosts = quiet[3]
    assert since == NOON + MINUTE - before.look_back_ms
    assert quiet[4] == (NOON, [])
    assert 5 not in quiet
    for host in hosts:
        after.recall(3, host, host.appended)
    after.recalled(3, since)
    (silent, stopped) = before.due([3], NOON + MINUTE * 5 // 2)
    assert [each.id for each in after.due([3], NOON + MINUTE * 5 // 2)] == [silent.id, stopped.id]
    assert rules([silent, stopped]) == [HOST_SILENT, HOST_STOPPED]
    (_, unknown) = before.quiet({3: NOON + 10 * MINUTE})[3]
    assert unknown == []


def test_a_clean_stop_is_reported_as_such() -> None:
    """After the same time, so that a restart makes no noise."""
    silence = HostLiveness()
    silence.see(0, Batch(stopping=True), NOON)
    assert silence.see(0, Batch(1, collector_start=200, previous_start=100), NOON + 5000) == []
    silence.see(0, Batch(2, collector_start=200, stopping=True), NOON + 6000)
    (reported,) = silence.due([0], NOON + 3 * MINUTE)
    assert (reported.rule, reported.priority) == (HOST_STOPPED, "Notice")


def test_what_is_read_again_reports_nothing() -> None:
    """After a takeover the newest batches come twice."""
    silence = HostLiveness()
    silence.see(0, Batch(7), NOON)
    silence.see(0, Batch(8), NOON + 3000)
    assert silence.see(0, Batch(7), NOON) == []
    assert silence.due([0], NOON + 2 * MINUTE + 1000) == []


def test_hosts_of_a_partition_that_went_are_forgotten() -> None:
    """Its new owner reports them."""
    silence = HostLiveness()
    silence.see(0, Batch(), NOON)
    silence.see(1, Batch(host_id="id-2"), NOON)
    silence.forget(frozenset({0}))
    assert [alert.host_id for alert in silence.due([0, 1], NOON + 3 * MINUTE)] == ["id-2"]
