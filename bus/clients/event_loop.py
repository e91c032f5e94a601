"""A producer for asyncio."""

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

from bus.clients.availability import Retry
from bus.clients.producers import Outgoing, Report, resending_producer
from bus.connection import BusUnavailable, Connection, fault_text
from bus.messages import Headers
from foundation.text import OnNote, ignore_note

_POLL_SECONDS = 0.1
_FULL_SECONDS = 0.01
"""Wait before trying a full queue again."""


class AsyncProducer:
    """A producer whose calls are coroutines: a message's future is done when all replicas have the message."""

    def __init__(
        self, connection: Connection, client_id: str, *, queue_bytes: int = 16 << 20, on_note: OnNote = ignore_note
    ) -> None:
        """Create a producer for the running event loop. Raises BusUnavailable if the client can't use the settings.

        Args:
            connection: the broker.
            client_id: shown in the broker's logs.
            queue_bytes: limit of the messages that wait for a slow broker.
            on_note: receives messages for the operator, on another thread.
        """
        self._loop = asyncio.get_running_loop()
        self._on_note = on_note
        self._producer = resending_producer(connection, client_id, queue_bytes=queue_bytes, on_note=on_note)
        self._closing = False
        self._poller = threading.Thread(target=self._poll, name="producer", daemon=True)
        self._poller.start()

    async def send(
        self, topic: str, key: bytes | None, value: bytes | None, headers: Headers, *, partition: int = -1
    ) -> "asyncio.Future[int]":
        """Queue a message, waiting while the queue is full.

        Returns:
            A future with the message's offset once all replicas have the message. It fails with MessageRefused, also if
            the client itself refuses, or with BusUnavailable for a fatal error.
        """
        done: asyncio.Future[int] = self._loop.create_future()
        message, report = Outgoing(topic, key, value, headers, partition), self._reporter(done)
        while True:
            if self._producer.send(message, report):
                return done
            await asyncio.sleep(_FULL_SECONDS)

    def close(self, timeout: float) -> int:
        """Send the remaining messages for at most timeout seconds; blocks.

        Returns:
            The number of messages that were not sent.
        """
        until = time.monotonic() + timeout
        while self._producer.pending and time.monotonic() < until:
            time.sleep(_FULL_SECONDS)
        self._closing = True
        self._poller.join()
        left = self._producer.pending
        self._producer.purge()
        return left

    def _poll(self) -> None:
        while not self._closing:
            try:
                self._producer.poll(_POLL_SECONDS)
            except Exception as error:  # noqa: BLE001  without this thread nothing would be sent, without an error
                self._on_note(f"sending: {fault_text(error)}", "error")

    def _reporter(self, done: "asyncio.Future[int]") -> Report:
        def report(error: Exception | None, offset: int) -> None:
            try:
                self._loop.call_soon_threadsafe(_finish, done, error, offset)
            except RuntimeError:
                # The loop is closed, so nothing waits for the result.
                return

        return report


def _finish(done: "asyncio.Future[int]", error: Exception | None, offset: int) -> None:
    if done.done():
        return
    if error is None:
        done.set_result(offset)
    else:
        done.set_exception(error)


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
