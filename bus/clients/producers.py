"""Producers: acknowledged by all replicas, and idempotent."""

import asyncio
import threading
import time
from typing import Any

from confluent_kafka import KafkaException, Producer

from bus.clients.renewal.connection_state import ConnectionState
from bus.clients.resending import Outgoing, Report, ResendingProducer
from bus.clients.retry import Retry
from bus.connection import Connection, client_config
from bus.errors.client_errors import ClientErrors, unusable
from bus.errors.unavailable import fault_text
from bus.messages.headers import Headers
from bus.topics import BATCH_BYTES, MAX_MESSAGE_BYTES
from schemas.text.notes import OnNote, ignore_note

LINGER_MS = 5
_POLL_SECONDS = 0.1
_FULL_SECONDS = 0.01
"""Wait before trying a full queue again."""


def producer_config(connection: Connection, client_id: str, *, queue_bytes: int) -> dict[str, Any]:
    """Return the settings of a producer.

    A broker that restarts may refuse a producer's first message in a partition, since it does not lead it yet, and
    accept the second, since it knows nothing of that producer. The client then reports the first as delivered as well,
    without an offset, although it is lost. A sender must send what has no offset again, as ResendingProducer does, or
    wait for the answer to its first message.

    Args:
        connection: the broker.
        client_id: shown in the broker's logs.
        queue_bytes: limit of the messages that wait for a slow broker.
    """
    return client_config(connection, client_id) | {
        "enable.idempotence": True,
        "acks": "all",
        "compression.type": connection.compression,
        "linger.ms": LINGER_MS,
        # A message never expires here: the caller decides when to stop waiting.
        "message.timeout.ms": 0,
        "message.max.bytes": MAX_MESSAGE_BYTES,
        "batch.size": BATCH_BYTES,
        "queue.buffering.max.kbytes": max(queue_bytes // 1024, 1024),
        # The partitioner of Java's clients and Faust, so that a key has one partition whichever client writes.
        "partitioner": "murmur2_random",
    }


def make_producer(config: dict[str, Any]) -> Producer:
    """Create a producer. Raises BusUnavailable if the client can't use the settings."""
    try:
        return Producer(config)
    except KafkaException as error:
        raise unusable(error.args[0]) from None


def resending_producer(
    connection: Connection,
    client_id: str,
    *,
    queue_bytes: int,
    on_note: OnNote = ignore_note,
) -> ResendingProducer:
    """Create a producer that replaces failed clients. Raises BusUnavailable if the client can't use the settings.

    Args:
        connection: the broker.
        client_id: shown in the broker's logs.
        queue_bytes: limit of the messages that wait for a slow broker.
        on_note: receives messages for the operator: that sending is blocked, and that it continues.
    """
    client_errors = ClientErrors(connection)
    state = ConnectionState()
    config = producer_config(connection, client_id, queue_bytes=queue_bytes) | {"error_cb": client_errors.on_error}
    return ResendingProducer(
        lambda: make_producer(config | state.options),
        lambda: make_producer(config | {"batch.num.messages": 1}),
        client_errors,
        state,
        Retry("Sending", on_note),
    )


class AsyncProducer:
    """A producer for asyncio: a message's future is done when all replicas have the message."""

    def __init__(
        self,
        connection: Connection,
        client_id: str,
        *,
        queue_bytes: int = 16 << 20,
        on_note: OnNote = ignore_note,
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
