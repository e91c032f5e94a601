"""Live events for browsers: how many alerts arrived, at most once a second, to a limited number of listeners."""

import asyncio
import json
from collections import Counter
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass, field
from typing import Any

from foundation.connections import Waits, to_close
from lanner.errors import TooManyAtOnce

MAX_LISTENERS, MAX_OF_SESSION = 200, 20
REASONS = ("session", "full", "evicted")
"""Why a stream is refused or closed: its session has as many as it may, all are in use, another client needs it."""
PERIOD_SECONDS = 1.0
HEARTBEAT_SECONDS = 20.0
HEARTBEAT = b": still here\n\n"


def event_bytes(name: str, value: Any) -> bytes:
    """Return a server-sent event."""
    return f"event: {name}\ndata: {json.dumps(value, default=list)}\n\n".encode()


@dataclass(slots=True, eq=False)
class _Listener:
    group: str
    session: str
    since: float
    is_gone: Callable[[], bool]
    is_known: bool = True
    is_closed: bool = False
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def waits(self) -> Waits:
        return Waits.SERVER

    def close(self) -> None:
        self.is_closed = True
        self.changed.set()


class LiveHub:
    """Passes notices of changes from the feed's thread to the listeners, to all of them at the same time."""

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._listeners: set[_Listener] = set()
        self._is_closed = False
        self._due: asyncio.TimerHandle | None = None
        self._notified_at = float("-inf")
        self.total = 0
        """Alerts since the start."""
        self.refused = Counter[str](dict.fromkeys(REASONS, 0))
        """Streams that were refused or closed, by reason."""
        self.version = 0
        """Grows with each notice: what was read before is older than what the listeners know."""

    @property
    def listeners(self) -> int:
        """How many listen."""
        return sum(not each.is_gone() for each in self._listeners)

    def open(self) -> None:
        """Begin on the running loop."""
        self._loop = asyncio.get_running_loop()

    def publish(self, added: int) -> None:
        """Notify all listeners soon; from any thread. added: new alerts; 0 if marks changed."""
        if self._loop is not None and not self._is_closed:
            self._loop.call_soon_threadsafe(self._changed, added)

    def notify(self) -> None:
        """Notify all listeners now; on the loop."""
        if self._due is not None:
            self._due.cancel()
            self._due = None
        self.version += 1
        self._notified_at = asyncio.get_running_loop().time()
        for each in self._listeners:
            each.changed.set()

    async def close(self) -> None:
        """End all streams."""
        self._is_closed = True
        for each in self._listeners:
            each.close()

    async def stream(
        self, client: str, session: str = "", is_gone: Callable[[], bool] = lambda: False
    ) -> AsyncGenerator[bytes]:
        """Yield server-sent events for a session of a client until the hub is closed, or another client needs the room.

        is_gone: returns whether the client has closed its connection. Raises TooManyAtOnce before the first event.
        """
        listener = _Listener(client, session, asyncio.get_running_loop().time(), is_gone, is_closed=self._is_closed)
        self._admit(listener)
        seen = self.total
        try:
            yield b"retry: 3000\n" + event_bytes("hello", {"version": self.version, "total": self.total})
            while not listener.is_closed:
                try:
                    async with asyncio.timeout(HEARTBEAT_SECONDS):
                        await listener.changed.wait()
                except TimeoutError:
                    yield HEARTBEAT
                    continue
                listener.changed.clear()
                added, seen = self.total - seen, self.total
                if not listener.is_closed:
                    yield event_bytes("change", {"added": added})
        finally:
            self._listeners.discard(listener)

    def _admit(self, listener: _Listener) -> None:
        for gone in [each for each in self._listeners if each.is_gone()]:
            self._listeners.discard(gone)
            gone.close()
        own = [each for each in self._listeners if (each.group, each.session) == (listener.group, listener.session)]
        if len(own) >= MAX_OF_SESSION:
            self.refused["session"] += 1
            raise TooManyAtOnce(f"You have {MAX_OF_SESSION} other pages with live updates open.")
        closed = to_close(self._listeners, listener, MAX_LISTENERS)
        if closed is listener:
            self.refused["full"] += 1
            raise TooManyAtOnce("All live updates of this console are in use.")
        if closed is not None:
            self.refused["evicted"] += 1
            closed.close()
            self._listeners.discard(closed)
        self._listeners.add(listener)

    def _changed(self, added: int) -> None:
        self.total += added
        if self._due is None:
            loop = asyncio.get_running_loop()
            self._due = loop.call_at(max(self._notified_at + PERIOD_SECONDS, loop.time()), self.notify)
