import multiprocessing
import os
import random
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from foundation.text import ignore_note
from foundation.throttling import Backoff
from notifier.outbox import Outbox
from notifier.sink import Delivered, RateLimited, RetryLater, RoutedAlert, SendOutcome, SinkStats, Undeliverable
from notifier.worker import QueueDeadLettered, QueueDelivered, QueueWaiting, RetryPolicy, Worker
from schemas.alert import Alert
from tests.unit.notifier.scripted import Clock, Scripted, numbered, worker


def policy() -> RetryPolicy:
    """Return a policy whose jitter is always average."""
    return RetryPolicy(Backoff(), lambda: 0.5)


def test_attempts_become_rarer_in_an_outage_and_no_alert_is_dropped() -> None:
    """During 30 minutes of failures the wait grows to a minute, and no alert leaves the queue."""
    retry, now, attempts = policy(), 0.0, 0
    while now < 1800:
        assert retry.record(RetryLater("down"), now) == QueueWaiting("down")
        attempts += 1
        assert 0 < retry.wait(now) <= 60
        now += retry.wait(now)
    assert 30 <= attempts <= 60
    assert retry.failing_since == 0.0
    assert retry.record(Delivered(), now) == QueueDelivered(1)
    assert (retry.failures, retry.failing_since, retry.wait(now)) == (0, None, 0.0)


def test_retry_after_is_a_lower_bound() -> None:
    """Retry-After: 30 results in 30 s and a little more."""
    retry = policy()
    retry.record(RetryLater("too many", 30.0), 0.0)
    assert 30 <= retry.wait(0.0) <= 31


def test_an_absurd_retry_after_is_capped() -> None:
    """A wrong header must not stop a sink for a year."""
    retry = policy()
    retry.record(RetryLater("too many", 3e7), 0.0)
    assert retry.wait(0.0) <= 901


def test_a_rate_limit_is_not_a_failure() -> None:
    """Slack's one message per second causes a wait without a report."""
    retry = policy()
    assert retry.record(RateLimited(0.75), 5.0) == QueueWaiting(None)
    assert (retry.wait(5.0), retry.failures) == (0.75, 0)


def test_the_alert_at_fault_is_found_after_several_are_refused() -> None:
    """They are sent one by one until the bad one is dead-lettered and the rest are delivered."""
    retry = policy()
    assert retry.record(Undeliverable("bad", 3), 0.0) == QueueWaiting("bad")
    assert retry.limit(100) == 1
    assert retry.record(Delivered(), 0.0) == QueueDelivered(1)
    assert retry.record(Undeliverable("bad"), 0.0) == QueueDeadLettered("bad", 1)
    assert retry.limit(100) == 1
    assert retry.record(Delivered(), 0.0) == QueueDelivered(1)
    assert retry.limit(100) == 100


def test_the_attempts_of_a_dead_letter_are_counted() -> None:
    """Failed attempts before the refusal count too."""
    retry = policy()
    retry.record(RetryLater("down"), 0.0)
    retry.record(RetryLater("down"), 9.0)
    assert retry.record(Undeliverable("bad"), 99.0) == QueueDeadLettered("bad", 3)


@given(st.integers(1, 10**6), st.none() | st.floats(0, 1e12), st.floats(0, 1))
def test_a_wait_is_bounded_whatever_happens(failures: int, requested: float | None, draw: float) -> None:
    """For any number of failures and any Retry-After."""
    wait = Backoff().seconds(failures, requested, draw)
    assert 0 <= wait <= 901
    assert requested is None or wait >= min(requested, 900)


def put(made: Worker, count: int) -> list[str]:
    """Put alerts into a worker's queue and return their ids."""
    assert isinstance(made.queue, Outbox)
    alerts = numbered(count)
    for each in alerts:
        made.queue.put(each)
    return [each.id for each in alerts]


def test_a_sink_down_for_half_an_hour_gets_all_in_order_and_no_dead_letter(tmp_path: Path) -> None:
    """The outage and its end are reported once each, and no alert is dropped."""
    clock, reported = Clock(), list[str]()
    far = Scripted()
    made = worker(tmp_path / "far.db", far, clock, reported=reported)
    ids = put(made, 20)
    began = clock.now
    while clock.now < began + 1800:
        far.answers = [RetryLater("connection refused")]
        made.turn()
    far.answers = []
    while made.queue.backlog():
        made.turn()
    assert far.took == ids
    assert isinstance(made.queue, Outbox)
    assert made.queue.dead_letters() == []
    assert reported == [
        "far: connection refused; alerts wait and are sent when it works again.",
        "far: accepts alerts again.",
    ]
    assert made.stats.sent == 20
    assert made.stats.retried > 20


def test_only_the_alert_that_is_refused_becomes_a_dead_letter(tmp_path: Path) -> None:
    """Those before and after it are delivered."""
    far = Scripted(Delivered(1), Undeliverable("invalid_blocks"))
    made = worker(tmp_path / "far.db", far, Clock())
    ids = put(made, 3)
    for _ in range(3):
        made.turn()
    assert far.took == [ids[0], ids[2]]
    assert isinstance(made.queue, Outbox)
    assert [each.alert_id for each in made.queue.dead_letters()] == [ids[1]]
    assert (made.stats.sent, made.stats.dead_lettered) == (2, 1)


def test_a_sink_may_accept_several_alerts_at_once(tmp_path: Path) -> None:
    """The sink returns how many alerts a digest covers."""
    far = Scripted(Delivered(5), batch_size=8)
    made = worker(tmp_path / "far.db", far, Clock())
    put(made, 6)
    made.turn()
    assert (far.sizes, made.stats.sent, made.queue.backlog()) == ([6], 5, 1)


def test_alerts_that_are_no_longer_routed_here_are_removed(tmp_path: Path) -> None:
    """Routes may change while alerts wait."""

    def even(alert: Alert) -> RoutedAlert | None:
        return RoutedAlert(alert) if alert.id[-1] in "02468" else None

    far = Scripted(Delivered(2), batch_size=4)
    made = worker(tmp_path / "far.db", far, Clock(), even)
    ids = put(made, 4)
    made.turn()
    assert (far.took, made.queue.backlog()) == ([ids[0], ids[2]], 0)


class _Stumbles(Scripted):
    """Raises an exception if one alert is among those sent."""

    def __init__(self, over: str, batch_size: int) -> None:
        super().__init__(batch_size=batch_size)
        self.over = over

    def send(self, alerts: Sequence[RoutedAlert]) -> SendOutcome:
        if self.over in [routed.alert.id for routed in alerts]:
            raise ZeroDivisionError
        return super().send(alerts)


def test_an_alert_that_triggers_a_bug_in_a_sink_does_not_hold_up_the_others(tmp_path: Path) -> None:
    """After some attempts it alone becomes a dead letter."""
    clock, far = Clock(), _Stumbles("id-0001", 3)
    made = worker(tmp_path / "far.db", far, clock)
    ids = put(made, 4)
    while made.queue.backlog():
        made.turn()
    assert far.took == [ids[0], ids[2], ids[3]]
    assert isinstance(made.queue, Outbox)
    (dead,) = made.queue.dead_letters()
    assert dead.alert_id == ids[1]
    assert "bug in Lanner: ZeroDivisionError" in dead.reason


def test_an_alert_that_triggers_a_bug_in_a_route_does_not_hold_up_the_others(tmp_path: Path) -> None:
    """It alone becomes a dead letter."""

    def stumbles(alert: Alert) -> RoutedAlert | None:
        return RoutedAlert(alert) if alert.id != "id-0000" else RoutedAlert(alert, **{"no such": "field"})  # type: ignore[arg-type]

    far = Scripted()
    made = worker(tmp_path / "far.db", far, Clock(), stumbles)
    ids = put(made, 2)
    made.turn()
    made.turn()
    assert far.took == [ids[1]]
    assert isinstance(made.queue, Outbox)
    assert [each.alert_id for each in made.queue.dead_letters()] == [ids[0]]


class _Witness:
    """Writes accepted ids to a file, as a remote server would store them."""

    batch_size = 1

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)

    def send(self, alerts: Sequence[RoutedAlert]) -> SendOutcome:
        os.write(self._file, alerts[0].alert.id.encode() + b"\n")
        return Delivered(1)

    def idle(self) -> None:
        return

    def reopen(self) -> None:
        return

    def close(self) -> None:
        os.close(self._file)


class _DiesInTheGap(Outbox):
    """Ends the process after the sink accepted an alert and before that is recorded."""

    def acknowledge(self, queued: object) -> None:  # noqa: ARG002
        os._exit(9)


def _deliver(folder: Path, kind: type[Outbox]) -> None:
    box = kind(folder / "far.db", capacity=10_000)
    for each in numbered(500):
        box.put(each)
    made = Worker(
        "far",
        box,
        _Witness(folder / "taken"),
        RetryPolicy(Backoff(), random.random),
        RoutedAlert,
        stats=SinkStats(),
        report=ignore_note,
    )
    while box.backlog():
        made.turn()


def _taken(folder: Path) -> list[str]:
    path = folder / "taken"
    return path.read_text().split() if path.exists() else []


def test_a_death_between_acceptance_and_record_delivers_that_one_twice(tmp_path: Path) -> None:
    """At-least-once delivery can't avoid this; it concerns a single alert."""
    context = multiprocessing.get_context("fork")
    dying = context.Process(target=_deliver, args=(tmp_path, _DiesInTheGap))
    dying.start()
    dying.join(30)
    assert dying.exitcode == 9
    assert _taken(tmp_path) == ["id-0000"]
    _deliver(tmp_path, Outbox)
    taken = _taken(tmp_path)
    assert taken[:2] == ["id-0000", "id-0000"]
    assert taken[1:] == [each.id for each in numbered(500)]


@pytest.mark.parametrize("seed", range(3))
def test_each_kill_at_a_random_point_loses_nothing_and_repeats_at_most_one(tmp_path: Path, seed: int) -> None:
    """After several kills under load every alert is delivered, in order of first delivery."""
    draw = random.Random(seed)
    context = multiprocessing.get_context("fork")
    kills = 0
    for _ in range(4):
        process = context.Process(target=_deliver, args=(tmp_path, Outbox))
        process.start()
        process.join(draw.uniform(0.02, 0.12))
        if process.is_alive():
            process.kill()
            kills += 1
        process.join()
    _deliver(tmp_path, Outbox)
    taken = _taken(tmp_path)
    expected = [each.id for each in numbered(500)]
    assert list(dict.fromkeys(taken)) == expected
    assert len(taken) - len(expected) <= kills
