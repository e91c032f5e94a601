"""Tries again while a broker is away, for as long as that lasts: one way for every client, with threads and without.

What is fatal stands in `fatal_errors`; a message that is refused is none of this module's business.
"""

import asyncio
import math
import random
import threading
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

from bus.clients.backoff import Backoff
from bus.errors.unavailable import BusUnavailable
from schemas.errors import LannerError

REMIND_SECONDS = 60.0
_BACKOFF = Backoff(first=0.1, most=5.0)
Found = TypeVar("Found")


class Stopped(LannerError):
    """The process ends before the broker was back."""


class Outage:
    """Reports an outage when it begins, at most once a minute while it lasts, and when it is over."""

    def __init__(
        self, waiting: str, on_note: Callable[[str], None], clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Begin without an outage.

        Args:
            waiting: what can't go on meanwhile, as the subject of a sentence.
            on_note: receives each report.
            clock: seconds.
        """
        self._waiting = waiting
        self._on_note = on_note
        self._clock = clock
        self._since: float | None = None
        self._report_at = 0.0

    @property
    def is_on(self) -> bool:
        """Whether an outage was reported that is not over."""
        return self._since is not None

    def goes_on(self, reason: object) -> None:
        """Take note of a failure."""
        now = self._clock()
        if self._since is None:
            self._since = now
        elif now < self._report_at:
            return
        self._report_at = now + REMIND_SECONDS
        lasting = f" (for {now - self._since:.0f} s now)" if now > self._since else ""
        self._on_note(f"warning: {reason}. {self._waiting} waits{lasting}.")

    def is_over(self) -> None:
        """Take note that the broker answers."""
        if self._since is not None:
            lasted, self._since = self._clock() - self._since, None
            self._on_note(f"the broker answers again: {self._waiting} goes on after {lasted:.1f} s.")


class Retry:
    """Decides after each failure in a row: how long to wait, or that waiting is in vain."""

    def __init__(
        self,
        waiting: str,
        on_note: Callable[[str], None] = lambda _: None,
        *,
        most_seconds: float = math.inf,
        clock: Callable[[], float] = time.monotonic,
        draw: Callable[[], float] = random.random,
    ) -> None:
        """Begin.

        Args:
            waiting: what can't go on meanwhile, as the subject of a sentence.
            on_note: receives what an operator should know.
            most_seconds: after which the last failure is raised; without end for what runs as a service.
            clock: seconds.
            draw: a random number from 0 to 1.
        """
        self._outage = Outage(waiting, on_note, clock)
        self._most_seconds = most_seconds
        self._clock = clock
        self._draw = draw
        self._failures = 0
        self._since = 0.0
        self._vain_since: float | None = None

    def failed(self, error: BusUnavailable) -> float:
        """Take note of a failure.

        Returns:
            Seconds to wait until the next attempt.

        Raises:
            BusUnavailable: the same error, where it is fatal or time is up.
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
        """Report that something has to wait although no attempt failed yet."""
        self._outage.goes_on(reason)

    def succeeded(self) -> None:
        """Take note that it works."""
        self._failures = 0
        self._vain_since = None
        self._outage.is_over()


def persist(attempt: Callable[[], Found], retry: Retry, stop: threading.Event | None = None) -> Found:
    """Attempt something until it works; blocks.

    Args:
        attempt: raises BusUnavailable where it does not work.
        retry: decides how long.
        stop: ends the waiting; None where a signal ends the process.

    Raises:
        BusUnavailable: it is fatal, or time is up.
        Stopped: by `stop`.
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


async def persist_async(attempt: Callable[[], Awaitable[Found]], retry: Retry) -> Found:
    """Do the same on an event loop; its task's cancellation ends it.

    Raises:
        BusUnavailable: it is fatal, or time is up.
    """
    while True:
        try:
            found = await attempt()
        except BusUnavailable as error:
            await asyncio.sleep(retry.failed(error))
        else:
            retry.succeeded()
            return found
