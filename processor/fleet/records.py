"""Follows a topic of records while a processor runs: of pods, so that alerts name deployments; of people's sessions."""

import asyncio
import threading
from collections.abc import Callable

from bus.clients.compacted import CompactedTopicReader
from bus.connection import Connection
from schemas.text.notes import OnNote

_POLL_SECONDS = 0.2
_PATIENCE_SECONDS = 10.0
"""How long evaluation waits for the records at the start; alerts without them are better than late ones."""


class RecordsFollower:
    """Reads the topic on a thread, from its beginning."""

    def __init__(
        self, connection: Connection, topic: str, put: Callable[[bytes, bytes | None], None], *, on_note: OnNote
    ) -> None:
        """Begin; nothing is connected.

        Args:
            connection: the broker.
            topic: name without prefix; it has one partition.
            put: receives key and value of each message, on the thread.
            on_note: receives messages for an operator.
        """
        self._connection = connection
        self._topic = topic
        self._put = put
        self._on_note = on_note
        self._is_read = asyncio.Event()
        self._stopped = threading.Event()

    def start(self) -> None:
        """Start; on the running loop. Raises BusUnavailable if the broker's settings are unusable."""
        follower = CompactedTopicReader(self._connection, [self._topic])
        loop = asyncio.get_running_loop()
        threading.Thread(target=self._follow, args=(follower, loop), name=self._topic, daemon=True).start()

    def finish(self) -> None:
        """Stop."""
        self._stopped.set()

    async def ready(self) -> None:
        """Wait until the topic has been read once, for a few seconds at most."""
        try:
            async with asyncio.timeout(_PATIENCE_SECONDS):
                await self._is_read.wait()
        except TimeoutError:
            self._on_note(f"the records of {self._topic} are not read yet: until then, alerts lack them.", "warning")
            self._is_read.set()

    def _follow(self, follower: CompactedTopicReader, loop: asyncio.AbstractEventLoop) -> None:
        reported = ""
        try:
            while not self._stopped.is_set():
                taken = follower.poll(_POLL_SECONDS)
                if taken is not None:
                    self._put(taken[1].key() or b"", taken[1].value())
                elif follower.has_read_all and not self._is_read.is_set():
                    loop.call_soon_threadsafe(self._is_read.set)
                if follower.last_error != reported:
                    reported = follower.last_error
                    if reported:
                        text = f"the records of {self._topic} cannot be read ({reported}): the known ones count."
                        self._on_note(text, "warning")
        except RuntimeError:
            # The loop is closed: this process is shutting down.
            return
        finally:
            follower.close()
