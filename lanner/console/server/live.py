"""Live events for browsers: how many alerts arrived, at most once a second, to a limited number of listeners."""

import asyncio
import json
from collections.abc import AsyncGenerator

MAX_LISTENERS = 200
PERIOD_SECONDS = 1.0
HEARTBEAT_SECONDS = 20.0


class TooManyListeners(Exception):
    """The limit on listeners is reached."""


class LiveHub:
    """Passes notices of changes from the feed's thread to the listeners, to all of them at the same time."""

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._listeners: set[asyncio.Event] = set()
        self._is_closed = False
        self._due: asyncio.TimerHandle | None = None
        self._notified_at = float("-inf")
        self.total = 0
        """Alerts since the start."""
        self.version = 0
        """Grows with each notice: what was read before is older than what the listeners know."""

    @property
    def listeners(self) -> int:
        """How many listen."""
        return len(self._listeners)

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
            each.set()

    async def close(self) -> None:
        """End all streams."""
        self._is_closed = True
        self.notify()

    async def stream(self) -> AsyncGenerator[bytes]:
        """Yield server-sent events until the hub is closed. Raises TooManyListeners."""
        if len(self._listeners) >= MAX_LISTENERS:
            raise TooManyListeners
        changed = asyncio.Event()
        self._listeners.add(changed)
        seen = self.total
        try:
            hello = json.dumps({"version": self.version})
            yield f"retry: 3000\nevent: hello\ndata: {hello}\n\n".encode()
            while not self._is_closed:
                try:
                    async with asyncio.timeout(HEARTBEAT_SECONDS):
                        await changed.wait()
                except TimeoutError:
                    yield b": still here\n\n"
                    continue
                changed.clear()
                added, seen = self.total - seen, self.total
                if not self._is_closed:
                    yield f"event: change\ndata: {json.dumps({'added': added})}\n\n".encode()
        finally:
            self._listeners.discard(changed)

    def _changed(self, added: int) -> None:
        self.total += added
        if self._due is None:
            loop = asyncio.get_running_loop()
            self._due = loop.call_at(max(self._notified_at + PERIOD_SECONDS, loop.time()), self.notify)
