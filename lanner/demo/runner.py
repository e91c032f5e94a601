"""Runs the actions while the pipeline detects, and records which rule detected its action, and how fast."""

import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from lanner.demo.act import DemoAction, DemoContext, DemoDocker, DemoSkipped
from notifier.sink import Delivered, RoutedAlert, SendOutcome, Sink
from schemas.alert import Alert


@dataclass(frozen=True, slots=True)
class DemoResult:
    """The result of one action."""

    rule: str
    expected: str
    seen: str | None = None
    """The alert's priority; None if no alert was raised."""
    milliseconds: float | None = None
    """From the event in the kernel to the alert."""
    skipped: str = ""
    """Why the action could not run here."""

    @property
    def is_missing(self) -> bool:
        """True if the action ran but its alert is missing or has another priority."""
        return not self.skipped and self.seen != self.expected


class AlertBoard(Sink):
    """A sink that the demo thread searches for the alerts of its actions."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._seen: list[tuple[Alert, float]] = []

    def send(self, alerts: Sequence[RoutedAlert]) -> SendOutcome:
        """Post the first alert, with the time that it took."""
        alert = alerts[0].alert
        with self._changed:
            self._seen.append((alert, (time.time_ns() - alert.time) / 1e6))
            self._changed.notify_all()
        return Delivered()

    def wait_for(self, rule: str, since: int, seconds: float, *, given_up: threading.Event) -> tuple[str, float] | None:
        """Return priority and latency (ms) of the first alert of a rule with an event since a time (ns), or None."""
        deadline = time.monotonic() + seconds
        with self._changed:
            while True:
                for alert, delay in self._seen:
                    if alert.rule == rule and alert.time >= since:
                        return alert.priority, delay
                rest = deadline - time.monotonic()
                if rest <= 0 or given_up.is_set():
                    return None
                self._changed.wait(min(rest, 0.2))


class Demonstration:
    """Runs the actions on a thread of their own."""

    def __init__(
        self, acts: Sequence[DemoAction], board: AlertBoard, on_outcome: Callable[[DemoResult], None], patience: float
    ) -> None:
        """Take the actions, and how many seconds to wait for the alert of each."""
        self.outcomes: list[DemoResult] = []
        self._patience = patience
        self._acts = acts
        self._board = board
        self._on_outcome = on_outcome
        self._given_up = threading.Event()
        self._thread = threading.Thread(target=self._act_all, name="acts", daemon=True)

    def start(self) -> None:
        """Start the thread; call it once events arrive."""
        self._thread.start()

    def is_done(self) -> bool:
        """Return whether all actions are done and reported."""
        return self._thread.ident is not None and not self._thread.is_alive()

    def give_up(self) -> None:
        """Start no further action, and wait for the running one to clean up."""
        self._given_up.set()
        if self._thread.ident is not None:
            self._thread.join(10)

    def _act_all(self) -> None:
        docker = DemoDocker.find() if any("docker" in act.needs for act in self._acts) else None
        if docker is None:
            self._report(self._each(None))
            return
        with docker:
            self._report(self._each(docker))

    def _report(self, outcomes: Iterator[DemoResult]) -> None:
        for outcome in outcomes:
            self.outcomes.append(outcome)
            self._on_outcome(outcome)

    def _each(self, docker: DemoDocker | None) -> Iterator[DemoResult]:
        for act in self._acts:
            if self._given_up.is_set():
                return
            yield self._one(act, docker)

    def _one(self, act: DemoAction, docker: DemoDocker | None) -> DemoResult:
        since = time.time_ns()
        # The times of events are from another clock than this one; the two differ by microseconds.
        since -= 50_000_000
        try:
            with tempfile.TemporaryDirectory(prefix="lanner-demo-") as directory:
                act.run(DemoContext(Path(directory), docker))
        except DemoSkipped as why:
            return DemoResult(act.rule, act.priority, skipped=str(why))
        except OSError as error:
            return DemoResult(act.rule, act.priority, skipped=f"failed: {error.strerror}")
        found = self._board.wait_for(act.rule, since, self._patience, given_up=self._given_up)
        return DemoResult(act.rule, act.priority, *(found or (None, None)))
