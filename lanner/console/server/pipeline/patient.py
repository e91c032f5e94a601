"""Reads what may take long on a thread, once for all who ask, and answers in time even if it doesn't end."""

import asyncio
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Generic, TypeVar

from bus.errors.unavailable import BusUnavailable
from lanner.errors import BadInput

Value = TypeVar("Value")


class NotReadable(Exception):
    """There is no answer, or not in time; the message states why."""


async def on_thread(work: Callable[[], Value], seconds: float, late: str) -> Value:
    """Return what a function returns on a thread that nothing waits for at the end of the process.

    Args:
        work: the function; may raise BadInput and BusUnavailable.
        seconds: how long to wait; it goes on afterwards.
        late: the message if that was not enough.

    Raises:
        NotReadable: it raised, or took longer.
    """
    return await _within(_started(work), seconds, late)


class PatientReading(Generic[Value]):
    """One reading at a time; its answer is used for some seconds."""

    def __init__(self, read: Callable[[], Value], *, seconds: float, fresh_seconds: float, late: str) -> None:
        """Create it without reading.

        Args:
            read: reads; may raise BadInput and BusUnavailable.
            seconds: how long a request waits.
            fresh_seconds: how long an answer is used.
            late: the message for those who waited in vain.
        """
        self._read = read
        self.late = late
        self._seconds, self._fresh_seconds = seconds, fresh_seconds
        self._answer: asyncio.Future[Value] | None = None
        self._last: asyncio.Future[Value] | None = None
        self._done_at = 0.0

    async def get(self) -> Value:
        """Return the answer. Raises NotReadable."""
        answer = self._answer
        if answer is None or (answer.done() and time.monotonic() - self._done_at > self._fresh_seconds):
            answer = self._answer = _started(self._read)
            answer.add_done_callback(self._note)
        return await _within(answer, self._seconds, self.late)

    def latest(self) -> Value | None:
        """Return the last answer without waiting, and begin to read if it isn't fresh; None if there is none."""
        answer = self._answer
        if answer is None or (answer.done() and time.monotonic() - self._done_at > self._fresh_seconds):
            self._last = answer or self._last
            answer = self._answer = _started(self._read)
            answer.add_done_callback(self._note)
        known = answer if answer.done() else self._last
        return None if known is None or known.cancelled() or known.exception() else known.result()

    def forget(self) -> None:
        """Read again at the next request."""
        self._answer = None

    def _note(self, _: asyncio.Future[Value]) -> None:
        self._done_at = time.monotonic()


async def _within(answer: asyncio.Future[Value], seconds: float, late: str) -> Value:
    try:
        async with asyncio.timeout(seconds):
            return await asyncio.shield(answer)
    except TimeoutError:
        raise NotReadable(late) from None
    except (BadInput, BusUnavailable) as error:
        raise NotReadable(str(error)) from None


def _started(work: Callable[[], Value]) -> asyncio.Future[Value]:
    loop = asyncio.get_running_loop()
    answer: asyncio.Future[Value] = loop.create_future()
    # Nobody may wait for it any longer when it fails.
    answer.add_done_callback(lambda done: done.cancelled() or done.exception())

    def settle(how: Callable[[Any], None], value: Any) -> None:
        with suppress(RuntimeError):
            # The loop is closed if the server has stopped.
            loop.call_soon_threadsafe(lambda: None if answer.done() else how(value))

    def run() -> None:
        try:
            value = work()
        except Exception as error:  # noqa: BLE001  raised where it is awaited
            settle(answer.set_exception, error)
        else:
            settle(answer.set_result, value)

    threading.Thread(target=run, name="console-pipeline", daemon=True).start()
    return answer
