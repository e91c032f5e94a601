"""Answers that take seconds: on threads of their own, few at once, and ended when the client goes away."""

import asyncio
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from aiohttp import web

from lanner.console.story.budget import ReadBudget

AT_ONCE = 4
MAX_WAITING, MAX_OF_ONE = 16, 8
_LOOK_SECONDS = 0.2
_BUSY = "Many people read events now; try again soon."
Result = TypeVar("Result")


class TooManyReadings(Exception):
    """As many readings wait as may, of all clients or of one; the message states which."""


class SlowReadings:
    """Runs readings of retained events. Their threads are not those that serve pages."""

    def __init__(self, make_budget: Callable[[], ReadBudget] = ReadBudget) -> None:
        self._make_budget = make_budget
        self._pool = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="console-reading")
        self._slots = asyncio.Semaphore(AT_ONCE)
        self._budgets: set[ReadBudget] = set()
        self._waiting = 0
        self._of_client = Counter[str]()
        self._is_closed = False

    async def run(self, request: web.Request, client: str, read: Callable[[ReadBudget], Result]) -> Result:
        """Return the result of a reading; end it when the client closes the connection.

        Args:
            request: the client's.
            client: who counts as one client.
            read: reads within a budget.

        Raises:
            TooManyReadings: try again later.
        """
        if self._of_client[client] >= MAX_OF_ONE:
            raise TooManyReadings("Your other pages read as many events as they may now; try again soon.")
        self._of_client[client] += 1
        try:
            return await self._run(request, read)
        finally:
            self._of_client[client] -= 1
            self._of_client += Counter()

    async def _run(self, request: web.Request, read: Callable[[ReadBudget], Result]) -> Result:
        if self._waiting >= MAX_WAITING:
            raise TooManyReadings(_BUSY)
        self._waiting += 1
        try:
            await self._slots.acquire()
        finally:
            self._waiting -= 1
        if self._is_closed:
            self._slots.release()
            raise TooManyReadings(_BUSY)
        budget = self._make_budget()
        self._budgets.add(budget)
        work = asyncio.get_running_loop().run_in_executor(self._pool, read, budget)
        # Held until the thread is free, even if the request is gone before.
        work.add_done_callback(lambda _: self._ended(budget))
        try:
            while not (await asyncio.wait({work}, timeout=_LOOK_SECONDS))[0]:
                if request.transport is None or request.transport.is_closing():
                    budget.cancel()
        finally:
            budget.cancel()
        return work.result()

    def close(self) -> None:
        """End all readings; those that wait don't begin."""
        self._is_closed = True
        for budget in self._budgets:
            budget.cancel()
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _ended(self, budget: ReadBudget) -> None:
        self._budgets.discard(budget)
        self._slots.release()
