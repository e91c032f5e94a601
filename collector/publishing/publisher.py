"""Sends batches to the broker: in order, without duplicates within a run, in bounded memory, with a spool on disk."""

import time
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

from confluent_kafka import TIMESTAMP_LOG_APPEND_TIME, KafkaError, KafkaException, Message, Producer

from bus.clients import producers
from bus.clients.availability import ConnectionState
from bus.clients.errors import ClientErrors, is_forbidden, is_refusal, is_too_large
from bus.clients.producers import make_producer, producer_config
from bus.clients.schema_registry import Registration, Registry, schema_message
from bus.connection import Connection
from bus.messages import AVRO, CLOCK, JSON_HEADERS, SENT, Headers, HostClock
from bus.topics import EVENTS, HOSTS, SCHEMAS
from collector.publishing.identity import HostIdentity
from collector.publishing.send_window import QueuedBatch, SendWindow
from collector.publishing.spool import REFUSED, Spool, events_of
from foundation.text import OnNote, ignore_note
from schemas.batch import EventBatch
from schemas.encoding.batch import EVENT_BATCH_SCHEMA, HEADER, encode_batch
from schemas.encoding.wire import reframed

_WINDOW_BYTES = 8 << 20
_PATIENCE_SECONDS = 2.0
_RETRY_SECONDS = 3.0
_STORE_RETRY_SECONDS = 10.0
_QUIET_SECONDS = 60.0
"""Seconds after a reported refusal during which further ones are only counted; anyone on the host can cause them."""


class Publisher:
    """Sends one collector's batches. Use it on one thread: publish, and poll often."""

    def __init__(
        self,
        connection: Connection,
        host_id: str,
        spool: Spool,
        *,
        identity: HostIdentity | None = None,
        on_note: OnNote = ignore_note,
        window_bytes: int = _WINDOW_BYTES,
        patience_seconds: float = _PATIENCE_SECONDS,
    ) -> None:
        """Create the producer; the broker need not be available. Raises BusUnavailable if the settings are invalid.

        Args:
            connection: the broker.
            host_id: the message key, which keeps a host's batches in one partition and so in order.
            spool: stores batches on disk; its content is sent first.
            identity: signs the batches, including those from disk; None sends unsigned batches.
            on_note: receives a message when the broker stops or resumes accepting batches.
            window_bytes: maximum bytes in flight; the rest waits on disk.
            patience_seconds: how long a batch may be in flight before it is also stored on disk.
        """
        self.refused: Counter[str] = Counter()
        self.delivered = 0
        """Batches acknowledged by all replicas."""
        self._connection = connection
        self._key = host_id.encode("utf-8", "surrogateescape")
        self._spool = spool
        self._identity = identity
        self._on_note = on_note
        self._window_bytes = window_bytes
        self._patience = patience_seconds
        self._window = SendWindow()
        self._clock = HostClock()
        self._generation = 0
        self._failure: KafkaError | None = None
        self._client_errors = ClientErrors(connection)
        self._connection_state = ConnectionState()
        self.is_away = False
        """True if the broker is unavailable, so that batches wait on disk."""
        self._to_announce: set[str] = set()
        """Topics whose announcements, sent before the first batch, are not acknowledged yet."""
        self._retry_at = 0.0
        self._store_at = 0.0
        self._progress_at = 0.0
        self._refusal_reported_at = float("-inf")
        self._registration: Registration | None = None
        if connection.registry is not None:
            registry = Registry(connection.registry)
            self._registration = Registration(registry, connection.topic(EVENTS), EVENT_BATCH_SCHEMA, on_note)
        self._producer: Producer = self._begin()

    @property
    def losses(self) -> Mapping[str, int]:
        """Events that will not arrive, by reason; the next batch reports them."""
        return self._spool.lost + self.refused

    @property
    def has_waiting(self) -> bool:
        """True if a batch is in flight or on disk."""
        return len(self._window) > 0 or self._spool.has_unsent

    def publish(self, batch: EventBatch) -> None:
        """Send a batch, or store it on disk if the broker is unavailable or slow."""
        encoded = encode_batch(batch)
        # A batch that waited for the answer to the one before need not wait for the next poll as well.
        self._take_reports(0)
        if (
            self._spool.has_unsent
            or self._is_stuck()
            or self._is_unregistered()
            or self._window.bytes >= self._window_bytes
        ):
            self._store_in_flight()
            self._spool.append(encoded)
        else:
            self._window.add(encoded, None, time.monotonic())
            self._send()

    def poll(self, timeout: float = 0.0) -> None:
        """Process acknowledgements, and send what waits on disk."""
        self._take_reports(timeout)
        if self._failure is not None and time.monotonic() >= self._retry_at:
            self._restart()
        self._release()
        if self._waits_for() > producers.STALLED_SECONDS or (self._window and self._connection_state.is_stalled):
            self._store_in_flight()
            self._restart()
        elif self._is_stuck():
            self._store_in_flight()
            self._report_away()
            return
        if self._is_unregistered():
            return
        self._send()
        while self._window.bytes < self._window_bytes and (taken := self._spool.take()) is not None:
            self._window.add(*taken, time.monotonic())
            self._send()

    def close(self, timeout: float) -> int:
        """Send the remaining batches for at most this many seconds; the rest waits on disk.

        Return how many batches were in flight at the end.
        """
        deadline = time.monotonic() + timeout
        while (self.has_waiting or self._to_announce) and time.monotonic() < deadline:
            self.poll(0.05)
            if self.is_away or (self._is_unregistered() and not self._window):
                break
        self._store_in_flight()
        left = len(self._window)
        self._generation += 1
        self._producer.purge()
        self._take_reports(0)
        self._spool.close()
        if self._registration is not None:
            self._registration.close()
        return left

    def _begin(self) -> Producer:
        config: dict[str, Any] = producer_config(
            self._connection, "lanner-collector", queue_bytes=2 * self._window_bytes
        )
        config |= {"error_cb": self._client_errors.on_error, **self._connection_state.options}
        producer = make_producer(config)
        key, value = schema_message(EVENT_BATCH_SCHEMA)
        announced = [(SCHEMAS, "schema", key, value, JSON_HEADERS)]
        if self._identity is not None:
            announced.append((HOSTS, "key of this host", *self._identity.announcement()))
        self._to_announce = {topic for topic, *_ in announced}
        for topic, what, key, value, headers in announced:
            report = self._announcing(topic, what)
            producer.produce(self._connection.topic(topic), value, key, headers=list(headers), on_delivery=report)
        return producer

    def _announcing(self, topic: str, what: str) -> Callable[[KafkaError | None, Message], None]:
        def report(error: KafkaError | None, message: Message) -> None:  # noqa: ARG001  part of the client's callback signature
            # A refusal is reported once; retrying would only delay the shutdown.
            self._to_announce.discard(topic)
            # A purge is our own doing. A user who may write events only needs no more: processors publish this schema
            # too, and batches carry the key.
            is_ours = error is None or error.code() == KafkaError._PURGE_QUEUE  # noqa: SLF001  the client's own name
            if error is not None and not is_ours and not is_forbidden(error):
                self._on_note(f"topic {self._connection.topic(topic)} refuses the {what}: {error.str()}.")

        return report

    def _send(self) -> None:
        """Send everything that may be sent now."""
        while self._failure is None and (sent := self._window.next()) is not None:
            if not self._produce(sent):
                return

    def _produce(self, sent: QueuedBatch) -> bool:
        generation = self._generation
        now = time.time_ns()

        def report(error: KafkaError | None, message: Message) -> None:
            if error is None:
                kind, stamp = message.timestamp()
                if kind == TIMESTAMP_LOG_APPEND_TIME:
                    self._clock.delivered(now, time.time_ns(), stamp * 1_000_000)
            if generation == self._generation:
                self._settle(sent, error)

        stamps = {SENT: str(now).encode()}
        if self._clock.offset is not None:
            stamps[CLOCK] = str(self._clock.offset).encode()
        headers: Headers = [("content-type", AVRO), *stamps.items()]
        encoded = sent.encoded
        if self._registration is not None and self._registration.header is not None:
            encoded = reframed(encoded, self._registration.header, HEADER)
        topic = self._connection.topic(EVENTS)
        if self._identity is not None:
            headers += self._identity.signature(topic, self._key, stamps, encoded)
        try:
            self._producer.produce(topic, encoded, self._key, headers=headers, on_delivery=report)
        except BufferError:
            return False
        except KafkaException as error:
            self._window.sent(sent)
            self._settle(sent, error.args[0], by_client=True)
        else:
            self._window.sent(sent)
        return True

    def _take_reports(self, timeout: float) -> None:
        """Process delivery reports for at most so many seconds."""
        try:
            self._producer.poll(timeout)
        except KafkaException as error:
            # The client has failed permanently, for example because its user has no rights yet.
            self._fail(error.args[0])

    def _fail(self, error: KafkaError) -> None:
        if self._failure is None:
            self._failure = error
            self._client_errors.on_error(error)
            self._retry_at = time.monotonic() + _RETRY_SECONDS

    def _settle(self, sent: QueuedBatch, error: KafkaError | None, *, by_client: bool = False) -> None:
        if error is not None and not is_refusal(error):
            self._fail(error)
            return
        self._progress_at = time.monotonic()
        if error is None:
            self._window.delivered(sent)
            self.delivered += 1
            if self.is_away:
                self.is_away = False
                self._client_errors.clear()
                self._on_note(f"the broker at {self._connection.bootstrap_servers} accepts events again.")
        elif not is_too_large(error):
            self._window.dropped(sent)
            self._lose(sent, error)
        elif self._window.refused(sent, by_client=by_client):
            self._lose(sent, error)
        self._release()

    def _lose(self, sent: QueuedBatch, error: KafkaError) -> None:
        lost = events_of(sent.encoded, self.refused)
        self.refused[REFUSED] += lost
        now = time.monotonic()
        if now - self._refusal_reported_at < _QUIET_SECONDS:
            return
        self._refusal_reported_at = now
        remedy = ""
        if is_too_large(error):
            topic = self._connection.topic(EVENTS)
            remedy = f" The batch can't be divided further: raise max.message.bytes of topic {topic}."
        self._on_note(f"the broker refused {lost} events in {len(sent.encoded)} bytes: {error.str()}.{remedy}")

    def _release(self) -> None:
        for done in self._window.release():
            if done.segment is not None:
                self._spool.settle(done.segment)

    def _is_stuck(self) -> bool:
        if self._failure is not None:
            return True
        return self._waits_for() > self._patience

    def _waits_for(self) -> float:
        """Return for how many seconds the oldest batch has waited without another one being acknowledged."""
        first = self._window.first
        return 0.0 if first is None else time.monotonic() - max(first.at, self._progress_at)

    def _is_unregistered(self) -> bool:
        """Return True if the schema registry has not responded yet, so that messages lack their header."""
        return self._registration is not None and self._registration.header is None

    def _store_in_flight(self) -> None:
        """Store batches in flight on disk, ahead of what will follow them there."""
        bare = [sent for sent in self._window if sent.segment is None]
        now = time.monotonic()
        if not bare or now < self._store_at:
            return
        segment = self._spool.store_sent([sent.encoded for sent in bare])
        if segment is None:
            self._store_at = now + _STORE_RETRY_SECONDS
        for sent in bare:
            sent.segment = segment

    def _restart(self) -> None:
        """Create a new producer after a failure, and send everything in flight again, in order."""
        self._generation += 1
        self._producer.purge()
        self._take_reports(0)
        self._failure = None
        self._connection_state.renewed()
        self._producer = self._begin()
        self._window.resend(time.monotonic())
        self._send()

    def _report_away(self) -> None:
        if not self.is_away:
            self.is_away = True
            newest = self._client_errors.newest or KafkaError(KafkaError._TIMED_OUT)  # noqa: SLF001  the client's own name
            self._on_note(
                f"the broker at {self._connection.bootstrap_servers} accepts no events: they wait on disk and are "
                f"sent in order once it does. {self._client_errors.unavailable(newest)}."
            )
