"""Retries coroutines while a broker is unavailable."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from bus.clients.retry import Retry
from bus.errors.unavailable import BusUnavailable

Found = TypeVar("Found")


async def persist_async(attempt: Callable[[], Awaitable[Found]], retry: Retry) -> Found:
    """Call a coroutine function until it succeeds; cancel the task to end it.

    Raises:
        BusUnavailable: the error is fatal, or time is up.
    """
    while True:
        try:
            found = await attempt()
        except BusUnavailable as error:
            await asyncio.sleep(retry.failed(error))
        else:
            retry.succeeded()
            return found
