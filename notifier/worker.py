"""Drains one sink's queue: fetch, send, record the id, then acknowledge; and when to send again or to dead-letter.

An alert leaves its queue only after the sink accepted it and its id was recorded. RetryPolicy is a state machine with
time as an argument, so a test of a 30-minute outage takes a millisecond.
"""

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from foundation.text import OnNote
from foundation.throttling import Backoff
from notifier.outbox import Queued
from notifier.routing import Router
from notifier.sink import Delivered, RateLimited, RetryLater, RoutedAlert, SendOutcome, Sink, SinkStats, Undeliverable
from schemas.alert import Alert

IDLE_SECONDS = 0.5
"""Longest wait before the worker checks whether to stop."""
MAX_FAULTS = 10
"""Consecutive exceptions, with growing waits between, after which the alert is taken to be at fault."""


@dataclass(frozen=True, slots=True)
class QueueDelivered:
    """The first `count` alerts of the queue were delivered."""

    count: int


@dataclass(frozen=True, slots=True)
class QueueDeadLettered:
    """The first alert of the queue becomes a dead letter."""

    reason: str
    attempts: int


@dataclass(frozen=True, slots=True)
class QueueWaiting:
    """No alert leaves the queue."""

    reason: str | None
    """The failure; None if a rate limit is observed."""


Step = QueueDelivered | QueueDeadLettered | QueueWaiting


class RetryPolicy:
    """Retry state of one sink."""

    def __init__(self, backoff: Backoff, draw: Callable[[], float]) -> None:
        """Start without failures; draw returns random numbers from 0 to 1, for jitter."""
        self._backoff = backoff
        self._draw = draw
        self._not_before = 0.0
        self._one_by_one = 0
        self.failures = 0
        """Consecutive failed attempts."""
        self.failing_since: float | None = None

    def wait(self, now: float) -> float:
        """Return the seconds until the next attempt; 0 if it may start now."""
        return max(0.0, self._not_before - now)

    def limit(self, batch_size: int) -> int:
        """Return how many alerts to send: one at a time after a refusal, to find the one at fault."""
        return 1 if self._one_by_one else batch_size

    def record(self, outcome: SendOutcome, now: float) -> Step:
        """Record the outcome of an attempt and return what to do with the queue. now: monotonic time, seconds."""
        match outcome:
            case Delivered(count):
                self._one_by_one = max(0, self._one_by_one - count)
                self.reset()
                return QueueDelivered(count)
            case RateLimited(seconds):
                self._not_before = now + seconds
                return QueueWaiting(None)
            case RetryLater(reason, after):
                self.failures += 1
                self.failing_since = now if self.failing_since is None else self.failing_since
                self._not_before = now + self._backoff.seconds(self.failures, after, self._draw())
                return QueueWaiting(reason)
            case Undeliverable(reason, together):
                if together > 1:
                    self._one_by_one = together
                    return QueueWaiting(reason)
                attempts = self.failures + 1
                self._one_by_one = max(0, self._one_by_one - 1)
                # A refusal is an answer: the sink is up.
                self.reset()
                return QueueDeadLettered(reason, attempts)

    def reset(self) -> None:
        """Clear failures and back-off."""
        self.failures = 0
        self.failing_since = None
        self._not_before = 0.0


class AlertQueue(Protocol):
    """Alerts that wait for one sink, on disk or in Kafka."""

    def fetch(self, limit: int, timeout: float) -> Sequence[Queued]:
        """Return the oldest alerts and leave them in the queue. timeout: seconds to wait for the first one."""

    def pause(self, seconds: float) -> None:
        """Wait while the sink is down."""

    def acknowledge(self, queued: Sequence[Queued]) -> None:
        """Record that alerts were delivered and remove them."""

    def dead_letter(self, queued: Queued, reason: str, attempts: int) -> None:
        """Turn an alert into a dead letter and remove it. Raises OSError if that is not possible now."""

    def backlog(self) -> int:
        """Return how many alerts wait, as far as known."""

    def oldest(self) -> float | None:
        """Return when the oldest waiting alert arrived: wall clock, seconds."""

    def close(self) -> None:
        """Close the queue; what waits stays."""


class Worker:
    """Delivery loop of one sink, on its own thread so that a sink that is down delays no other."""

    def __init__(
        self,
        name: str,
        queue: AlertQueue,
        sink: Sink,
        retry: RetryPolicy,
        router: Router,
        *,
        stats: SinkStats,
        report: OnNote,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Create a worker that is not started.

        Args:
            name: of the sink, for messages and metrics.
            queue: alerts that wait.
            sink: where they go.
            retry: when to send.
            router: whether an alert goes to this sink, and to which channel.
            stats: counts what happens to alerts.
            report: called once when delivery begins to fail, and once when it works again.
            clock: monotonic time, seconds.
        """
        self.name = name
        self.queue = queue
        self.stats = stats
        self._sink = sink
        self._retry = retry
        self._router = router
        self._report = report
        self._clock = clock
        self.turned_at = clock()
        """When the loop last started an iteration, by the same clock."""
        self._faults = 0
        """Consecutive calls of `send` that raised an exception."""
        self._stop = threading.Event()
        self._reopen = threading.Event()
        self._changing = threading.Lock()
        self._next: tuple[Sink, Router] | None = None
        self.failure = ""
        """Why delivery fails; empty while it works."""
        self._thread = threading.Thread(target=self._run, name=f"sink-{name}", daemon=True)

    def start(self) -> None:
        """Start delivering."""
        self._thread.start()

    def reopen(self) -> None:
        """Ask the sink to reopen files and connections."""
        self._reopen.set()

    def routed(self, alert: Alert) -> RoutedAlert | None:
        """Return where an alert goes by the current routes; None if it doesn't go to this sink."""
        with self._changing:
            router = self._router if self._next is None else self._next[1]
        return router(alert)

    def change(self, sink: Sink, router: Router) -> None:
        """Replace sink and routes after the attempt in progress; the queue is unchanged."""
        with self._changing:
            superseded, self._next = self._next, (sink, router)
        if superseded is not None:
            superseded[0].close()

    def stop(self, seconds: float) -> bool:
        """Stop, waiting at most so many seconds for the attempt in progress; return whether the worker has ended."""
        self._stop.set()
        self._thread.join(seconds)
        return not self._thread.is_alive()

    def drain(self, seconds: float) -> None:
        """Wait until the queue is empty, the sink fails or the time is up."""
        until = time.monotonic() + seconds
        while self.queue.backlog() and not self._retry.failures and time.monotonic() < until:
            time.sleep(0.01)

    def turn(self) -> None:
        """Make one attempt, or wait a little."""
        wait = self._retry.wait(self._clock())
        if wait > 0:
            self.queue.pause(min(wait, IDLE_SECONDS))
            return
        limit = self._retry.limit(self._sink.batch_size)
        waiting = self.queue.fetch(limit, IDLE_SECONDS)
        if self._apply_change():
            # The fetched alerts are routed by the new settings in the next turn.
            return
        queued = self._route(waiting)
        if not queued:
            self._sink.idle()
            return
        outcome = self._send([routed for _, routed in queued])
        match step := self._retry.record(outcome, self._clock()):
            case QueueDelivered(count):
                # The sink has them: record, then remove. A crash in between delivers them once more.
                self.queue.acknowledge([each for each, _ in queued[:count]])
                for each, _ in queued[:count]:
                    self.stats.delivered(each.alert.time)
                self._report_recovery()
            case QueueDeadLettered(reason, attempts):
                self._dead_letter(queued[0][0], reason, attempts)
            case QueueWaiting():
                if step.reason is not None:
                    self.stats.retried += 1
                    self._report_failure(step.reason)

    def _send(self, alerts: Sequence[RoutedAlert]) -> SendOutcome:
        """Send alerts; one on which the sink raises again and again counts as refused in the end."""
        try:
            outcome = self._sink.send(alerts)
        except OSError:
            raise
        except Exception as error:  # noqa: BLE001  a bug that one alert triggers must not hold up the others
            self._faults += 1
            reason = f"internal error, this is a bug in Lanner: {type(error).__name__}"
            return RetryLater(reason) if self._faults < MAX_FAULTS else Undeliverable(reason, len(alerts))
        self._faults = 0
        return outcome

    def _dead_letter(self, queued: Queued, reason: str, attempts: int) -> bool:
        try:
            self.queue.dead_letter(queued, reason, attempts)
        except OSError as error:
            self._report_failure(f"can't write a dead letter for a refused alert: {error}")
            self.queue.pause(IDLE_SECONDS)
            return False
        self.stats.dead_lettered += 1
        self._report(f"{self.name}: refuses alert {queued.alert.id} ({reason}): `lanner dlq list`.")
        return True

    def _route(self, queued: Sequence[Queued]) -> list[tuple[Queued, RoutedAlert]]:
        """Return the alerts for this sink; acknowledge those that changed routes no longer send here."""
        found: list[tuple[Queued, RoutedAlert]] = []
        others: list[Queued] = []
        for each in queued:
            try:
                routed = self._router(each.alert)
            except Exception as error:  # noqa: BLE001  a bug that one alert triggers must not hold up the others
                if not self._dead_letter(each, f"internal error in a route: {type(error).__name__}: {error}", 0):
                    return []
                continue
            if routed is None:
                others.append(each)
            else:
                found.append((each, routed))
        if others:
            self.queue.acknowledge(others)
        return found

    def _report_failure(self, reason: str) -> None:
        was_failing, self.failure = bool(self.failure), reason or "no reason given"
        if not was_failing:
            self._report(f"{self.name}: {reason}; alerts wait and are sent when it works again.")

    def _report_recovery(self) -> None:
        if self.failure:
            self.failure = ""
            self._report(f"{self.name}: accepts alerts again.")

    def _apply_change(self) -> bool:
        with self._changing:
            change, self._next = self._next, None
        if change is None:
            return False
        self._sink.close()
        self._sink, self._router = change
        # New settings may fix the failure, so reset the back-off.
        self._retry.reset()
        return True

    def _run(self) -> None:
        while not self._stop.is_set():
            self.turned_at = self._clock()
            self._apply_change()
            if self._reopen.is_set():
                self._reopen.clear()
                self._sink.reopen()
            try:
                self.turn()
            except OSError as error:
                self._report_failure(str(error))
                self._stop.wait(IDLE_SECONDS)
            except Exception as error:  # noqa: BLE001  a bug in one sink must not end delivery silently
                self._report_failure(f"internal error, this is a bug in Lanner: {type(error).__name__}")
                self._stop.wait(IDLE_SECONDS)
        self._sink.close()
