"""Producers: nothing is sent that isn't kept by every replica, nothing is sent twice by one producer, order stays."""

import asyncio
import threading
import time
from collections.abc import Callable
from typing import Any

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from bus.connection import Connection, client_config
from bus.headers import Headers
from bus.refusals import meaning
from bus.topics import MAX_MESSAGE_BYTES
from bus.trouble import Trouble, unusable

LINGER_MS = 5
_TELL_SECONDS = 60.0


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

        on_note: told, on another thread, that the broker doesn't let this client in any more; messages wait then.
        """
        self._loop = asyncio.get_running_loop()
        self._trouble = Trouble(connection)
        self._on_note = on_note
        config = producer_config(connection, client_id, queue_bytes=queue_bytes)
        self._producer = make_producer(config | {"error_cb": self._trouble.on_error})
        self._closing = False
        self._poller = threading.Thread(target=self._poll, name="producer", daemon=True)
        self._poller.start()

    async def send(
        self, topic: str, key: bytes | None, value: bytes | None, headers: Headers, *, partition: int = -1
    ) -> "asyncio.Future[int]":
        """Hand over a message, waiting while the queue is full.

        Returns:
            A future that ends when the message is safe, with its offset (-1 where the broker did not say), or with
            Refused or KafkaException; a message that the client refuses at once ends it as well.
        """
        done: asyncio.Future[int] = self._loop.create_future()
        report = self._reporter(done)
        while True:
            try:
                self._producer.produce(
                    topic, value, key, partition=partition, headers=list(headers), on_delivery=report
                )
            except BufferError:
                await asyncio.sleep(0.01)
            except Exception as error:  # noqa: BLE001  a header or key that the client can't take, as well as a size
                done.set_exception(meaning(error))
                return done
            else:
                return done

    def close(self, timeout: float) -> int:
        """Send what is left for at most so many seconds; blocks.

        Returns:
            How many messages are still unsent.
        """
        left = self._producer.flush(timeout)
        self._closing = True
        self._poller.join()
        return left

    def _poll(self) -> None:
        tell_at = 0.0
        while not self._closing:
            self._producer.poll(0.1)
            told = self._trouble.told
            if told is not None and self._trouble.is_final and time.monotonic() >= tell_at:
                tell_at = time.monotonic() + _TELL_SECONDS
                self._trouble.told = None
                self._on_note(f"{self._trouble.unavailable(told)}. What is to be sent waits.")

    def _reporter(self, done: "asyncio.Future[int]") -> Callable[[KafkaError | None, Message], None]:
        def report(error: KafkaError | None, message: Message) -> None:
            try:
                self._loop.call_soon_threadsafe(_finish, done, error, message.offset())
            except RuntimeError:
                # The loop is closed: nobody waits any more.
                return

        return report


def _finish(done: "asyncio.Future[int]", error: KafkaError | None, offset: int | None) -> None:
    if done.done():
        return
    if error is None:
        done.set_result(-1 if offset is None else offset)
    else:
        done.set_exception(meaning(KafkaException(error)))
