"""Work on threads: once for all who ask, in time even if it doesn't end, and a limited number at once."""

import asyncio
import threading
import time
from collections import Counter
from collections.abc import Callable, Hashable
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from bus.connection import BusUnavailable
from foundation.caches import BoundedMap
from foundation.errors import LannerError
from lanner.errors import BadInput, TooManyAtOnce
from lanner.recorder.store import ReadBudget

if TYPE_CHECKING:
    from aiohttp import web

Value = TypeVar("Value")


class NotReadable(LannerError):
    """There is no answer, or not in time; the message states why."""


async def on_thread(work: Callable[[], Value], seconds: float, late: str) -> Value:
    """Return what a function returns on a thread that nothing waits for at the end of the process.

    Raises NotReadable if the function raises BadInput or BusUnavailable, or, with the message `late`, if it takes more
    than some seconds; it goes on then.
    """
    return await _within(_started(work), seconds, late)


class PatientReading(Generic[Value]):
    """One reading at a time; its answer is used for some seconds."""

    def __init__(self, read: Callable[[], Value], *, seconds: float, fresh_seconds: float, late: str) -> None:
        """Create it without reading. read: may raise BadInput and BusUnavailable.

        seconds: how long a request waits; fresh_seconds: how long an answer is used; late: the message for those who
        waited in vain.
        """
        self._read = read
        self.late = late
        self._seconds, self._fresh_seconds = seconds, fresh_seconds
        self._answer: asyncio.Future[Value] | None = None
        self._last: asyncio.Future[Value] | None = None
        self._done_at = 0.0

    async def get(self) -> Value:
        """Return the answer. Raises NotReadable."""
        return await _within(self._fresh(), self._seconds, self.late)

    def latest(self) -> Value | None:
        """Return the last answer without waiting, and begin to read if it isn't fresh; None if there is none."""
        answer = self._fresh()
        known = answer if answer.done() else self._last
        return None if known is None or known.cancelled() or known.exception() else known.result()

    def forget(self) -> None:
        """Read again at the next request."""
        self._answer = None

    def _fresh(self) -> asyncio.Future[Value]:
        answer = self._answer
        if answer is None or (answer.done() and time.monotonic() - self._done_at > self._fresh_seconds):
            self._last = answer or self._last
            answer = self._answer = _started(self._read)
            answer.add_done_callback(self._note)
        return answer

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

    threading.Thread(target=run, name="console-work", daemon=True).start()
    return answer


SECONDS = 2.0
_MAX_ENTRIES = 200


class RecentAnswers:
    """Calls a function once for all who ask within two seconds."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._answers: BoundedMap[Hashable, tuple[float, asyncio.Future[Any]]] = BoundedMap(_MAX_ENTRIES)

    async def get(self, key: Hashable, make: Callable[[], Any]) -> Any:
        """Return the answer of a key, which has the data's version; make it on a thread if none is recent."""
        known = self._answers.get(key)
        if known is None or self._clock() - known[0] >= SECONDS:
            # A task of its own: the first to ask may go away while others wait.
            known = (self._clock(), asyncio.ensure_future(asyncio.to_thread(make)))
            self._answers.put(key, known)
        return await asyncio.shield(known[1])


class WorkLimit:
    """Limits work on threads: how much is done at once, how much waits for it, and how much of both one client has."""

    def __init__(self, at_once: int, waiting: int, of_client: int, *, busy: str, own: str) -> None:
        """Take the limits on pieces of work: at once, that wait, and of one client.

        busy: the message if too many wait; own: the message if the client has too many.
        """
        self._slots = asyncio.Semaphore(at_once)
        self._max_waiting, self._max_of_client = waiting, of_client
        self._busy, self._own = busy, own
        self._waiting = 0
        self._of_client = Counter[str]()
        self._is_closed = False

    async def take(self, client: str) -> None:
        """Wait until the work of a client may begin. Raises TooManyAtOnce."""
        if self._of_client[client] >= self._max_of_client:
            raise TooManyAtOnce(self._own)
        if self._slots.locked() and self._waiting >= self._max_waiting:
            raise TooManyAtOnce(self._busy)
        self._of_client[client] += 1
        self._waiting += 1
        try:
            await self._slots.acquire()
        except asyncio.CancelledError:
            self._of_client -= Counter([client])
            raise
        finally:
            self._waiting -= 1
        if self._is_closed:
            self.release(client)
            raise TooManyAtOnce(self._busy)

    def release(self, client: str) -> None:
        """Make room for other work: the thread of a client's work has ended. Called on the loop."""
        self._of_client -= Counter([client])
        self._slots.release()

    def close(self) -> None:
        """Begin no other work."""
        self._is_closed = True


AT_ONCE, MAX_WAITING, MAX_OF_ONE = 4, 16, 8
_LOOK_SECONDS = 0.2
Result = TypeVar("Result")


class SlowReadings:
    """Runs readings of retained events. Their threads are not those that serve pages."""

    def __init__(self) -> None:
        self._budgets: set[ReadBudget] = set()
        self._limit = WorkLimit(
            AT_ONCE,
            MAX_WAITING,
            MAX_OF_ONE,
            busy="Many people read events now; try again soon.",
            own="Your other pages read as many events as they may now; try again soon.",
        )

    async def run(self, request: "web.Request", client: str, read: Callable[[ReadBudget], Result]) -> Result:
        """Return the result of a reading; end it when the client closes the connection. Raises TooManyAtOnce."""
        await self._limit.take(client)
        budget = ReadBudget()
        self._budgets.add(budget)

        def ended(_: asyncio.Future[Result]) -> None:
            self._budgets.discard(budget)
            self._limit.release(client)

        work = _started(lambda: read(budget))
        # Not released until the thread is free, even if the request is gone before.
        work.add_done_callback(ended)
        try:
            while not (await asyncio.wait({work}, timeout=_LOOK_SECONDS))[0]:
                if request.transport is None or request.transport.is_closing():
                    budget.cancel()
        finally:
            budget.cancel()
        return work.result()

    def close(self) -> None:
        """End all readings; those that wait don't begin."""
        self._limit.close()
        for budget in self._budgets:
            budget.cancel()
