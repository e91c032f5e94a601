"""Empties one sink's line into its receiver: fetch, offer, record, and only then let go.

The order is the promise: an alert leaves its line after the far end took it and its id is recorded, never before.
"""

import threading
import time
from collections.abc import Callable, Sequence
from typing import Protocol

from notifier.delivery.outcome import RemoteSink, RetryLater, RoutedAlert, SendOutcome, Undeliverable
from notifier.delivery.retry import QueueDeadLettered, QueueDelivered, QueueWaiting, RetryPolicy
from notifier.delivery.stats import SinkStats
from notifier.queue.outbox import Queued
from schemas.alert import Alert

IDLE_SECONDS = 0.5
"""How long anything waits at most before it looks whether to stop."""

MOST_FAULTS = 10
"""So many faults in a row, with growing waits between, are no passing matter: the alert is at fault."""

Address = Callable[[Alert], RoutedAlert | None]
"""Where an alert goes within a sink; None if it isn't for it."""


class AlertQueue(Protocol):
    """What waits for one sink, on disk or in Kafka."""

    def waiting(self, most: int, timeout: float) -> Sequence[Queued]:
        """Give the oldest alerts and leave them where they are."""

    def idle(self, seconds: float) -> None:
        """Let time pass while the sink is down."""

    def done(self, queued: Sequence[Queued]) -> None:
        """Record that these were delivered, and let them go."""

    def bury(self, queued: Queued, reason: str, attempts: int) -> None:
        """Make a dead letter of one, and let it go. Raises OSError if that can't be done now."""

    def backlog(self) -> int:
        """Give how many wait, as far as is known."""

    def oldest(self) -> float | None:
        """Give when the oldest that waits was taken; wall clock, seconds."""


class Worker:
    """The loop of one sink; a thread of its own, so that a dead sink slows no other."""

    def __init__(
        self,
        name: str,
        line: AlertQueue,
        receiver: RemoteSink,
        courier: RetryPolicy,
        address: Address,
        *,
        tally: SinkStats,
        on_trouble: Callable[[str], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Put the parts together.

        Args:
            name: of the sink, for messages and metrics.
            line: what waits.
            receiver: the far end.
            courier: when to try.
            address: whether an alert is for this sink, and where within it.
            tally: what became of the alerts.
            on_trouble: told once when delivery begins to fail, and once when it works again.
            clock: seconds, of a clock that doesn't jump.
        """
        self.name = name
        self.line = line
        self.tally = tally
        self._receiver = receiver
        self._courier = courier
        self._address = address
        self._on_trouble = on_trouble
        self._clock = clock
        self.turned_at = clock()
        """When its loop last came round, by the same clock."""
        self._faults = 0
        """Offers in a row that ended in a fault of ours."""
        self._stop = threading.Event()
        self._reopen = threading.Event()
        self._changing = threading.Lock()
        self._next: tuple[RemoteSink, Address] | None = None
        self.trouble = ""
        """Why delivery fails; empty while it works."""
        self._thread = threading.Thread(target=self._run, name=f"sink-{name}", daemon=True)

    def start(self) -> None:
        """Begin to deliver."""
        self._thread.start()

    def reopen(self) -> None:
        """Have the receiver open anew what log rotation may have moved away."""
        self._reopen.set()

    def wants(self, alert: Alert) -> RoutedAlert | None:
        """Give where an alert goes within the sink as things are now; None if it isn't for it."""
        with self._changing:
            address = self._address if self._next is None else self._next[1]
        return address(alert)

    def change(self, receiver: RemoteSink, address: Address) -> None:
        """Go on with another far end and other routes, after what is under way; nothing leaves the line for it."""
        with self._changing:
            superseded, self._next = self._next, (receiver, address)
        if superseded is not None:
            superseded[0].close()

    def stop(self, seconds: float) -> bool:
        """End; what is under way may take so many seconds.

        Returns:
            Whether it ended by then.
        """
        self._stop.set()
        self._thread.join(seconds)
        return not self._thread.is_alive()

    def drain(self, seconds: float) -> None:
        """Wait until the line is empty, but not longer, and not for a sink that is down."""
        until = time.monotonic() + seconds
        while self.line.backlog() and not self._courier.failures and time.monotonic() < until:
            time.sleep(0.01)

    def turn(self) -> None:
        """Make one attempt, or let a little time pass."""
        wait = self._courier.wait(self._clock())
        if wait > 0:
            self.line.idle(min(wait, IDLE_SECONDS))
            return
        limit = self._courier.limit(self._receiver.most)
        waiting = self.line.waiting(limit, IDLE_SECONDS)
        if self._take_change():
            # What came since then is judged by what holds since then.
            return
        queued = self._sorted_out(waiting)
        if not queued:
            self._receiver.tend()
            return
        outcome = self._offered([parcel for _, parcel in queued])
        match step := self._courier.judge(outcome, self._clock()):
            case QueueDelivered(count):
                # The receiver has them: record, then let go. A crash in between delivers them once more.
                self.line.done([each for each, _ in queued[:count]])
                for each, _ in queued[:count]:
                    self.tally.delivered(each.alert.time)
                self._tell_recovery()
            case QueueDeadLettered(reason, attempts):
                self._bury(queued[0][0], reason, attempts)
            case QueueWaiting():
                if step.reason is not None:
                    self.tally.retried += 1
                    self._tell(step.reason)

    def _offered(self, parcels: Sequence[RoutedAlert]) -> SendOutcome:
        """Offer alerts; one that sets off a fault of ours again and again is taken for refused in the end."""
        try:
            outcome = self._receiver.offer(parcels)
        except OSError:
            raise
        except Exception as error:  # noqa: BLE001  a fault of ours that one alert sets off must not hold up the others
            self._faults += 1
            reason = f"internal error, this is a bug in Lanner: {type(error).__name__}"
            return RetryLater(reason) if self._faults < MOST_FAULTS else Undeliverable(reason, len(parcels))
        self._faults = 0
        return outcome

    def _bury(self, queued: Queued, reason: str, attempts: int) -> bool:
        try:
            self.line.bury(queued, reason, attempts)
        except OSError as error:
            self._tell(f"a refused alert can't be put to the dead letters: {error}")
            self.line.idle(IDLE_SECONDS)
            return False
        self.tally.dead_lettered += 1
        self._on_trouble(f"{self.name}: refuses alert {queued.alert.id} ({reason}): `lanner dlq list`.")
        return True

    def _sorted_out(self, queued: Sequence[Queued]) -> list[tuple[Queued, RoutedAlert]]:
        """Give what is for this sink, after letting go of what isn't any more, by routes that changed meanwhile."""
        kept: list[tuple[Queued, RoutedAlert]] = []
        others: list[Queued] = []
        for each in queued:
            try:
                parcel = self._address(each.alert)
            except Exception as error:  # noqa: BLE001  a fault of ours that one alert sets off must not hold up the others
                if not self._bury(each, f"internal error in a route: {type(error).__name__}: {error}", 0):
                    return []
                continue
            if parcel is None:
                others.append(each)
            else:
                kept.append((each, parcel))
        if others:
            self.line.done(others)
        return kept

    def _tell(self, reason: str) -> None:
        was_told, self.trouble = bool(self.trouble), reason or "no reason given"
        if not was_told:
            self._on_trouble(f"{self.name}: {reason}; alerts wait and are sent when it works again.")

    def _tell_recovery(self) -> None:
        if self.trouble:
            self.trouble = ""
            self._on_trouble(f"{self.name}: takes alerts again.")

    def _take_change(self) -> bool:
        with self._changing:
            change, self._next = self._next, None
        if change is None:
            return False
        self._receiver.close()
        self._receiver, self._address = change
        # What was wrong may be right now: no wait that the old settings earned holds for the new.
        self._courier.begin_anew()
        return True

    def _run(self) -> None:
        while not self._stop.is_set():
            self.turned_at = self._clock()
            self._take_change()
            if self._reopen.is_set():
                self._reopen.clear()
                self._receiver.reopen()
            try:
                self.turn()
            except OSError as error:
                self._tell(str(error))
                self._stop.wait(IDLE_SECONDS)
            except Exception as error:  # noqa: BLE001  a fault of ours in one sink must not end delivery in silence
                self._tell(f"a fault in Lanner itself, {type(error).__name__}")
                self._stop.wait(IDLE_SECONDS)
        self._receiver.close()
