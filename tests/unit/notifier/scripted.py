"""A sink with scripted outcomes, a clock moved by hand, and numbered alerts."""

from collections.abc import Callable, Sequence
from pathlib import Path

from foundation.text import ignore_note
from foundation.throttling import Backoff
from notifier.outbox import Outbox
from notifier.sink import Delivered, RoutedAlert, SendOutcome, Sink, SinkStats
from notifier.worker import RetryPolicy, Worker
from schemas.alert import Alert
from tests.notes import into
from tests.unit.alerts import alert


class Scripted:
    """Returns scripted outcomes, then accepts alerts one at a time."""

    def __init__(self, *answers: SendOutcome, batch_size: int = 1) -> None:
        self.batch_size = batch_size
        self.answers = list(answers)
        self.took: list[str] = []
        self.sizes: list[int] = []
        """Number of alerts in each call of `send`."""

    def send(self, alerts: Sequence[RoutedAlert]) -> SendOutcome:
        """Return the next outcome."""
        self.sizes.append(len(alerts))
        outcome = self.answers.pop(0) if self.answers else Delivered(1)
        if isinstance(outcome, Delivered):
            self.took += [routed.alert.id for routed in alerts[: outcome.count]]
        return outcome

    def idle(self) -> None:
        """Do nothing."""

    def reopen(self) -> None:
        """Do nothing."""

    def close(self) -> None:
        """Do nothing."""


class Clock:
    """A clock that only waiting moves."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        """Return the time, seconds."""
        return self.now


def numbered(count: int) -> list[Alert]:
    """Return alerts with distinct ids."""
    return [alert(id=f"id-{number:04d}") for number in range(count)]


def worker(
    path: Path,
    sink: Sink,
    clock: Clock,
    router: Callable[[Alert], RoutedAlert | None] = RoutedAlert,
    *,
    name: str = "far",
    reported: list[str] | None = None,
) -> Worker:
    """Return a worker with an outbox whose pauses move the clock."""
    outbox = Outbox(path, capacity=5000, clock=clock)

    def pause(seconds: float) -> None:
        clock.now += seconds

    outbox.pause = pause  # type: ignore[method-assign]
    return Worker(
        name,
        outbox,
        sink,
        RetryPolicy(Backoff(), lambda: 0.5),
        router,
        stats=SinkStats(),
        report=ignore_note if reported is None else into(reported),
        clock=clock,
    )
