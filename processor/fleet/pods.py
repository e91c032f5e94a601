"""Follows the topic of pods while a processor runs, so that alerts name deployments and services."""

import asyncio
import threading

from bus.clients.compacted import CompactedTopicReader
from bus.connection import Connection
from bus.topics import PODS
from processor.output.pods import PodRecords
from schemas.text.notes import OnNote

_POLL_SECONDS = 0.2
_PATIENCE_SECONDS = 10.0
"""How long evaluation waits for the records at the start; alerts without them are better than late ones."""


class PodsFollower:
    """Reads the topic on a thread, from its beginning."""

    def __init__(self, connection: Connection, records: PodRecords, *, on_note: OnNote) -> None:
        """Begin; nothing is connected.

        Args:
            connection: the broker.
            records: receives all records.
            on_note: receives messages for an operator.
        """
        self.records = records
        self._connection = connection
        self._on_note = on_note
        self._is_read = asyncio.Event()
        self._stopped = threading.Event()

    def start(self) -> None:
        """Start; on the running loop. Raises BusUnavailable if the broker's settings are unusable."""
        follower = CompactedTopicReader(self._connection, [PODS])
        loop = asyncio.get_running_loop()
        threading.Thread(target=self._follow, args=(follower, loop), name="pods", daemon=True).start()

    def finish(self) -> None:
        """Stop."""
        self._stopped.set()

    async def ready(self) -> None:
        """Wait until the topic has been read once, for a few seconds at most."""
        try:
            async with asyncio.timeout(_PATIENCE_SECONDS):
                await self._is_read.wait()
        except TimeoutError:
            self._on_note("the records of pods are not read yet: until then, alerts lack deployments.", "warning")
            self._is_read.set()

    def _follow(self, follower: CompactedTopicReader, loop: asyncio.AbstractEventLoop) -> None:
        reported = ""
        try:
            while not self._stopped.is_set():
                taken = follower.poll(_POLL_SECONDS)
                if taken is not None:
                    self.records.put(taken[1].key() or b"", taken[1].value())
                elif follower.has_read_all and not self._is_read.is_set():
                    loop.call_soon_threadsafe(self._is_read.set)
                if follower.last_error != reported:
                    reported = follower.last_error
                    if reported:
                        self._on_note(
                            f"the records of pods cannot be read ({reported}): the known ones count.", "warning"
                        )
        except RuntimeError:
            # The loop is closed: this process is shutting down.
            return
        finally:
            follower.close()
