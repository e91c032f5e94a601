"""Producers: nothing is sent that isn't kept by every replica, nothing is sent twice by one producer, order stays."""

import asyncio
import threading
import time
from collections.abc import Callable
from typing import Any

from confluent_kafka import KafkaException, Producer

from bus.clients.resending import Outgoing, Report, ResendingProducer
from bus.clients.retry import Retry
from bus.connection import Connection, client_config
from bus.errors.client_errors import ClientErrors, unusable
from bus.errors.unavailable import fault_text
from bus.messages.headers import Headers
from bus.topics import MAX_MESSAGE_BYTES

LINGER_MS = 5
_POLL_SECONDS = 0.1
_FULL_SECONDS = 0.01
"""How soon a full queue is looked at again."""


def producer_config(connection: Connection, client_id: str, *, queue_bytes: int) -> dict[str, Any]:
    """Give a producer's settings.

    Args:
        connection: the broker.
        client_id: shown in the broker's logs.
        queue_bytes: how much may wait for a slow broker.
    """
    return client_config(connection, client_id) | {
        "enable.idempotence": True,
        "acks": "all",
        "compression.type": connection.compression,
        "linger.ms": LINGER_MS,
        # A message never expires here: whoever gave it decides when to stop waiting.
        "message.timeout.ms": 0,
        "message.max.bytes": MAX_MESSAGE_BYTES,
        "queue.buffering.max.kbytes": max(queue_bytes // 1024, 1024),
        # As Java's clients and Faust choose partitions, so that one key has one partition whoever writes.
        "partitioner": "murmur2_random",
    }


def make_producer(config: dict[str, Any]) -> Producer:
    """Make a producer; raises BusUnavailable where its settings can't be used."""
    try:
        return Producer(config)
    except KafkaException as error:
        raise unusable(error.args[0]) from None


def resending_producer(
    connection: Connection,
    client_id: str,
    *,
    queue_bytes: int,
    on_note: Callable[[str], None] = lambda _: None,
) -> ResendingProducer:
    """Make a producer that outlives its clients; raises BusUnavailable where its settings can't be used.

    Args:
        connection: the broker.
        client_id: shown in the broker's logs.
        queue_bytes: how much may wait for a slow broker.
        on_note: receives what an operator should know: that messages have to wait, and go on.
    """
    trouble = ClientErrors(connection)
    config = producer_config(connection, client_id, queue_bytes=queue_bytes) | {"error_cb": trouble.on_error}
    return ResendingProducer(lambda: make_producer(config), trouble, Retry("What is to be sent", on_note))


class AsyncProducer:
    """A producer for an event loop: each message's future is done when all replicas have it."""

    def __init__(
        self,
        connection: Connection,
        client_id: str,
        *,
        queue_bytes: int = 16 << 20,
        on_note: Callable[[str], None] = lambda _: None,
    ) -> None:
        """Begin; must be made on the running loop that will use it. Raises BusUnavailable.

        on_note: receives, on another thread, what an operator should know: that messages have to wait, and go on.
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
        """Hand over a message, waiting while the queue is full.

        Returns:
            A future that ends when the message is safe, with its offset (-1 where the broker did not say), or with
            Refused, or with BusUnavailable where waiting changes nothing; also for what the client refuses at once.
        """
        done: asyncio.Future[int] = self._loop.create_future()
        message, report = Outgoing(topic, key, value, headers, partition), self._reporter(done)
        while True:
            if self._producer.send(message, report):
                return done
            await asyncio.sleep(_FULL_SECONDS)

    def close(self, timeout: float) -> int:
        """Send what is left for at most so many seconds; blocks.

        Returns:
            How many messages are still unsent.
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
            except Exception as error:  # noqa: BLE001  without this thread nothing would be sent, and nobody told
                self._on_note(f"error: sending: {fault_text(error)}")

    def _reporter(self, done: "asyncio.Future[int]") -> Report:
        def report(error: Exception | None, offset: int) -> None:
            try:
                self._loop.call_soon_threadsafe(_finish, done, error, offset)
            except RuntimeError:
                # The loop is closed: nobody waits any more.
                return

        return report


def _finish(done: "asyncio.Future[int]", error: Exception | None, offset: int) -> None:
    if done.done():
        return
    if error is None:
        done.set_result(offset)
    else:
        done.set_exception(error)
