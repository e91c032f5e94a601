"""Retry calls while a broker is unavailable; for every client.

`bus.clients.errors` lists the errors that are not retried. Refused messages are not handled here.
"""

import math
import random
import threading
import time
from collections.abc import Callable
from typing import TypeVar

from bus.connection import BusUnavailable
from foundation.backoff import Backoff
from foundation.errors import LannerError
from foundation.text import OnNote, ignore_note

REMIND_SECONDS = 60.0
_BACKOFF = Backoff(first=0.1, most=5.0)
Found = TypeVar("Found")


class Stopped(LannerError):
    """The process ends before the broker was available again."""


class Outage:
    """Reports an outage when it begins, at most once a minute while it lasts, and when it ends."""

    def __init__(
        self, waiting: str, on_note: OnNote, clock: Callable[[], float] = time.monotonic, *, of: str = "the broker"
    ) -> None:
        """Start without an outage.

        Args:
            waiting: what is blocked meanwhile, as the subject of a sentence.
            on_note: receives each report.
            clock: returns seconds.
            of: what is unavailable.
        """
        self._waiting = waiting
        self._on_note = on_note
        self._clock = clock
        self._of = of
        self._since: float | None = None
        self._report_at = 0.0

    def goes_on(self, reason: object) -> None:
        """Record a failure."""
        now = self._clock()
        if self._since is None:
            self._since = now
        elif now < self._report_at:
            return
        self._report_at = now + REMIND_SECONDS
        lasting = f" (for {now - self._since:.0f} s so far)" if now > self._since else ""
        self._on_note(f"{reason}. {self._waiting} is waiting{lasting}.", "warning")

    def is_over(self) -> None:
        """Record that it answers."""
        if self._since is not None:
            lasted, self._since = self._clock() - self._since, None
            self._on_note(f"{self._of} answers again: {self._waiting} continues after {lasted:.1f} s.")


class Retry:
    """Decides after each failure whether to retry, and how long to wait."""

    def __init__(
        self,
        waiting: str,
        on_note: OnNote = ignore_note,
        *,
        most_seconds: float = math.inf,
        clock: Callable[[], float] = time.monotonic,
        draw: Callable[[], float] = random.random,
        of: str = "the broker",
    ) -> None:
        """Start without failures.

        Args:
            waiting: what is blocked meanwhile, as the subject of a sentence.
            on_note: receives messages for the operator.
            most_seconds: when to give up and raise the last failure; infinite for services.
            clock: returns seconds.
            draw: returns a random number from 0 to 1.
            of: what is unavailable.
        """
        self._outage = Outage(waiting, on_note, clock, of=of)
        self._most_seconds = most_seconds
        self._clock = clock
        self._draw = draw
        self._failures = 0
        self._since = 0.0
        self._vain_since: float | None = None

    def failed(self, error: BusUnavailable) -> float:
        """Record a failure.

        Returns:
            Seconds to wait before the next attempt.

        Raises:
            BusUnavailable: the same error, if it is fatal or time is up.
        """
        now = self._clock()
        if not self._failures:
            self._since = now
        if error.patience == math.inf:
            self._vain_since = None
        elif self._vain_since is None:
            self._vain_since = now
        is_vain = self._vain_since is not None and now - self._vain_since >= error.patience
        if is_vain or now - self._since >= self._most_seconds:
            raise error
        self._failures += 1
        self._outage.goes_on(error)
        return _BACKOFF.seconds(self._failures, None, self._draw())

    def waits(self, reason: BusUnavailable) -> None:
        """Report that work is blocked although no attempt has failed yet."""
        self._outage.goes_on(reason)

    def succeeded(self) -> None:
        """Record a success."""
        self._failures = 0
        self._vain_since = None
        self._outage.is_over()


def persist(attempt: Callable[[], Found], retry: Retry, stop: threading.Event | None = None) -> Found:
    """Call a function until it succeeds; blocks.

    Args:
        attempt: raises BusUnavailable if it fails.
        retry: decides how long to retry.
        stop: ends the waiting; None if only a signal ends it.

    Raises:
        BusUnavailable: the error is fatal, or time is up.
        Stopped: `stop` was set.
    """
    ending = stop or threading.Event()
    while True:
        try:
            found = attempt()
        except BusUnavailable as error:
            if ending.wait(retry.failed(error)):
                raise Stopped from None
        else:
            retry.succeeded()
            return found
