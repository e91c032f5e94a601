"""A sink's far end that answers as it was told, and a line's worth of alerts."""

from collections.abc import Callable, Sequence
from pathlib import Path

from bus.clients.backoff import Backoff
from notifier.delivery.outcome import Delivered, RemoteSink, RoutedAlert, SendOutcome
from notifier.delivery.retry import RetryPolicy
from notifier.delivery.stats import SinkStats
from notifier.delivery.worker import Worker
from notifier.queue.outbox import Outbox
from schemas.alert import Alert
from tests.unit.alerts import alert


class Scripted:
    """Gives the answers of a script, then accepts whatever comes, one at a time."""

    def __init__(self, *answers: SendOutcome, most: int = 1) -> None:
        self.most = most
        self.answers = list(answers)
        self.took: list[str] = []
        self.offered: list[int] = []

    def offer(self, parcels: Sequence[RoutedAlert]) -> SendOutcome:
        """Answer."""
        self.offered.append(len(parcels))
        outcome = self.answers.pop(0) if self.answers else Delivered(1)
        if isinstance(outcome, Delivered):
            self.took += [parcel.alert.id for parcel in parcels[: outcome.count]]
        return outcome

    def tend(self) -> None:
        """Nothing to look after."""

    def reopen(self) -> None:
        """Nothing to open."""

    def close(self) -> None:
        """Nothing to close."""


class Clock:
    """A clock that stands until it is moved; waiting moves it."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        """Give the time."""
        return self.now


def numbered(count: int) -> list[Alert]:
    """Make alerts with ids of their own."""
    return [alert(id=f"id-{number:04d}") for number in range(count)]


def worker(
    path: Path,
    receiver: RemoteSink,
    clock: Clock,
    address: Callable[[Alert], RoutedAlert | None] = RoutedAlert,
    *,
    name: str = "far",
    told: list[str] | None = None,
) -> Worker:
    """Make a worker over an outbox whose idling moves the clock."""
    outbox = Outbox(path, most=5000, clock=clock)

    def idle(seconds: float) -> None:
        clock.now += seconds

    outbox.idle = idle  # type: ignore[method-assign]
    return Worker(
        name,
        outbox,
        receiver,
        RetryPolicy(Backoff(), lambda: 0.5),
        address,
        tally=SinkStats(),
        on_trouble=[].append if told is None else told.append,
        clock=clock,
    )
