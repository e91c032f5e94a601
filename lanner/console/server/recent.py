"""Answers that pages share: with live updates, all open pages request the same at the same time."""

import asyncio
import time
from collections.abc import Callable, Hashable
from typing import Any

from schemas.caching.bounded import BoundedMap

SECONDS = 2.0
_MAX_ENTRIES = 200


class RecentAnswers:
    """Calls a function once for all who ask within two seconds."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._answers: BoundedMap[Hashable, tuple[float, asyncio.Future[Any]]] = BoundedMap(_MAX_ENTRIES)

    async def get(self, key: Hashable, make: Callable[[], Any]) -> Any:
        """Return the answer of a key; call make on another thread if there is no recent one.

        Args:
            key: what the answer depends on, with the version of the data.
            make: returns it.
        """
        known = self._answers.get(key)
        if known is None or self._clock() - known[0] >= SECONDS:
            # A task of its own: the first to ask may go away while others wait.
            known = (self._clock(), asyncio.ensure_future(asyncio.to_thread(make)))
            self._answers.put(key, known)
        return await asyncio.shield(known[1])
