"""Producers: acknowledged by all replicas, and idempotent."""

import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from bus.clients.availability import ConnectionState, Retry
from bus.clients.errors import ClientErrors, MessageRefused, meaning, unusable
from bus.connection import BusUnavailable, Connection, client_config
from bus.messages import Headers
from bus.topics import BATCH_BYTES, MAX_MESSAGE_BYTES
from foundation.text import OnNote, ignore_note

_PATIENCE_SECONDS = 3.0
"""How long the oldest message may wait, without another one being acknowledged, before that is reported."""
STALLED_SECONDS = 60.0
"""How long one message may be the oldest before a new client takes over. Once in hundreds of restarts of a broker, an
idempotent client of librdkafka stays silent: it connects, but neither sends nor fails its messages. Acknowledgements
from other partitions do not count, since it may be only one that is silent."""
_TURN_SECONDS = 0.1

Report = Callable[[Exception | None, int], None]
"""Receives None and the offset for an acknowledged message, else MessageRefused or BusUnavailable, and -1."""


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A message to send."""

    topic: str
    """Full name."""
    key: bytes | None
    value: bytes | None
    headers: Headers
    partition: int = -1
    """-1 to choose it by the key."""


@dataclass(slots=True, eq=False)
class _Pending:
    message: Outgoing
    report: Report
    at: float


class ResendingProducer:
    """One thread sends and one polls; reports may be called on either of them."""

    def __init__(
        self,
        make: Callable[[], Producer],
        make_separate: Callable[[], Producer],
        client_errors: ClientErrors,
        state: ConnectionState,
        retry: Retry,
    ) -> None:
        """Create the first client.

        Args:
            make: creates a client whose error_cb is client_errors.on_error, with the state's options; raises
                BusUnavailable.
            make_separate: creates a client that sends each message in its own batch; raises BusUnavailable.
            client_errors: the connection errors of the clients.
            state: whether the client has lost its brokers.
            retry: decides when a new client takes over after a failure.
        """
        self._make = make
        self._make_separate = make_separate
        self._state = state
        self._client_errors = client_errors
        self._retry = retry
        self._lock = threading.Lock()
        self._window: dict[int, _Pending] = {}
        """Unacknowledged messages, oldest first."""
        self._number = 0
        self._generation = 0
        self._failure: KafkaError | None = None
        self._retry_at: float | None = None
        self._arrived_at = 0.0
        self._oldest: _Pending | None = None
        self._oldest_since = 0.0
        self._producer = make()
        self._separate: Producer | None = None
        """Made for the first message that the broker refuses."""

    @property
    def pending(self) -> int:
        """The number of unacknowledged messages."""
        return len(self._window)

    @property
    def is_shut_out(self) -> bool:
        """True if the broker rejects this client, as far as is known."""
        return self._client_errors.is_final

    @property
    def reason(self) -> BusUnavailable:
        """Why messages are unacknowledged, as far as is known."""
        failure = self._failure or self._client_errors.newest or KafkaError(KafkaError._TIMED_OUT)  # noqa: SLF001  its name
        return self._client_errors.unavailable(failure)

    def send(self, message: Outgoing, report: Report) -> bool:
        """Queue a message.

        Args:
            message: the message.
            report: called once with the result.

        Returns:
            Whether the message was queued; False while the queue is full or a new client is about to take over.
        """
        with self._lock:
            if self._failure is not None:
                return False
            pending = _Pending(message, report, time.monotonic())
            self._number += 1
            self._window[self._number] = pending
            try:
                self._produce(self._number, message)
            except BufferError:
                del self._window[self._number]
                return False
            except Exception as error:  # noqa: BLE001  a header or key that the client can't take, as well as a size
                why = meaning(error)
                if not isinstance(why, MessageRefused):
                    self._failure = error.args[0]
                    return True
                del self._window[self._number]
            else:
                return True
        report(why, -1)
        return True

    def poll(self, seconds: float) -> None:
        """Process acknowledgements for at most so many seconds; start a new client if needed."""
        try:
            self._producer.poll(seconds)
            if self._separate is not None:
                self._separate.poll(0)
        except KafkaException as error:
            # The client has failed permanently, for example because its user has no rights yet.
            self._failure = self._failure or error.args[0]
        now = time.monotonic()
        if self._failure is None:
            with self._lock:
                oldest = next(iter(self._window.values()), None)
            if oldest is not self._oldest:
                self._oldest, self._oldest_since = oldest, now
            if oldest is None:
                return
            if now - max(oldest.at, self._arrived_at) > _PATIENCE_SECONDS:
                self._retry.waits(self.reason)
            if now - self._oldest_since > STALLED_SECONDS or self._state.is_stalled:
                self._oldest = None
                self._restart()
        elif self._retry_at is None:
            try:
                self._retry_at = now + self._retry.failed(self.reason)
            except BusUnavailable as fatal:
                self._give_up(fatal)
        elif now >= self._retry_at:
            self._restart()

    def purge(self) -> None:
        """Drop all unacknowledged messages without reports."""
        with self._lock:
            self._generation += 1
            self._window.clear()
        self._drop()

    def _drop(self) -> None:
        """Drop the clients' messages; a client that has failed permanently raises that again."""
        for producer in (self._producer, self._separate):
            if producer is not None:
                with suppress(KafkaException):
                    producer.purge()
                    producer.poll(0)

    def _produce(self, number: int, message: Outgoing, *, separately: bool = False) -> None:
        generation = self._generation
        producer = self._separately() if separately else self._producer

        def delivered(error: KafkaError | None, reported: Message) -> None:
            self._settle(number, generation, error, reported.offset(), separately=separately)

        producer.produce(
            message.topic,
            message.value,
            message.key,
            partition=message.partition,
            headers=list(message.headers),
            on_delivery=delivered,
        )

    def _separately(self) -> Producer:
        if self._separate is None:
            self._separate = self._make_separate()
        return self._separate

    def _settle(
        self, number: int, generation: int, error: KafkaError | None, offset: int | None, *, separately: bool
    ) -> None:
        why = None if error is None else meaning(KafkaException(error))
        with self._lock:
            if error is not None and generation != self._generation:
                # It was purged; the new client sends it.
                return
            if error is not None and not isinstance(why, MessageRefused):
                self._failure = self._failure or error
                return
            has_no_offset = error is None and (offset is None or offset < 0)
            if has_no_offset or (why is not None and not separately):
                if generation == self._generation and (repeated := self._window.get(number)) is not None:
                    self._produce_again(number, repeated, separately=why is not None)
                return
            pending = self._window.pop(number, None)
        if error is None:
            self._arrived_at = time.monotonic()
            self._client_errors.clear()
            self._retry.succeeded()
        if pending is not None:
            pending.report(why, -1 if offset is None else offset)

    def _produce_again(self, number: int, pending: _Pending, *, separately: bool = False) -> bool:
        """Pass a message to the client once more; return whether the client took it."""
        pending.at = time.monotonic()
        try:
            self._produce(number, pending.message, separately=separately)
        except (KafkaException, BufferError, BusUnavailable) as error:
            reason = error.args[0] if isinstance(error, KafkaException) else None
            self._failure = reason or KafkaError(KafkaError._QUEUE_FULL)  # noqa: SLF001  the client's own name
            return False
        return True

    def _restart(self) -> None:
        with self._lock:
            self._generation += 1
        self._drop()
        self._state.renewed()
        try:
            fresh = self._make()
        except BusUnavailable as error:
            # For example, a file that the settings name is missing for now.
            self._retry.waits(error)
            self._retry_at = time.monotonic() + _PATIENCE_SECONDS
            return
        with self._lock:
            self._producer, self._separate = fresh, None
            self._failure, self._retry_at = None, None
            for number, pending in self._window.items():
                if not self._produce_again(number, pending):
                    return

    def _give_up(self, fatal: BusUnavailable) -> None:
        with self._lock:
            given_up = list(self._window.values())
            self._window.clear()
        for pending in given_up:
            pending.report(fatal, -1)
        self._restart()


def deliver(producer: ResendingProducer, messages: Sequence[Outgoing], seconds: float) -> list[Exception | None]:
    """Send messages and wait for their acknowledgements, for at most so many seconds; blocks.

    Returns:
        For each message None if it was acknowledged, else MessageRefused or BusUnavailable. Messages that are not
        acknowledged in time are dropped, unless they are on the wire already.
    """
    outcomes: dict[int, Exception | None] = {}

    def report_of(index: int) -> Report:
        def report(error: Exception | None, _: int) -> None:
            outcomes[index] = error

        return report

    until = time.monotonic() + seconds
    sent = 0
    while len(outcomes) < len(messages) and time.monotonic() < until and not producer.is_shut_out:
        while sent < len(messages) and producer.send(messages[sent], report_of(sent)):
            sent += 1
        producer.poll(_TURN_SECONDS)
    if len(outcomes) < len(messages):
        producer.purge()
    return [outcomes.get(index, producer.reason) for index in range(len(messages))]


LINGER_MS = 5


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
    connection: Connection, client_id: str, *, queue_bytes: int, on_note: OnNote = ignore_note
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
