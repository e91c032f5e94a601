"""A sink's far end that answers as it was told, and a line's worth of alerts."""

from collections.abc import Callable, Sequence
from pathlib import Path

from bus.clients.backoff import Backoff
from notifier.delivery.outcome import Accepted, Outcome, Parcel, Receiver
from notifier.delivery.retry import Courier
from notifier.delivery.stats import SinkTally
from notifier.delivery.worker import Worker
from notifier.queue.outbox import Outbox
from schemas.alert import Alert
from tests.unit.alerts import alert


class Scripted:
    """Gives the answers of a script, then accepts whatever comes, one at a time."""

    def __init__(self, *answers: Outcome, most: int = 1) -> None:
        self.most = most
        self.answers = list(answers)
        self.took: list[str] = []
        self.offered: list[int] = []

    def offer(self, parcels: Sequence[Parcel]) -> Outcome:
        """Answer."""
        self.offered.append(len(parcels))
        outcome = self.answers.pop(0) if self.answers else Accepted(1)
        if isinstance(outcome, Accepted):
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
    receiver: Receiver,
    clock: Clock,
    address: Callable[[Alert], Parcel | None] = Parcel,
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
        Courier(Backoff(), lambda: 0.5),
        address,
        tally=SinkTally(),
        on_trouble=[].append if told is None else told.append,
        clock=clock,
    )
