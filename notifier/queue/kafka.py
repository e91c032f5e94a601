"""A sink's line in Kafka: a consumer group of its own on the alerts' topic.

An offset is committed after the far end took the alert and its id was recorded on disk. While the far end is down the
partitions are paused and polling goes on, so that the group keeps its member.
"""

import json
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from bus.clients.producers import resending_producer
from bus.clients.resending import Outgoing, ResendingProducer, deliver
from bus.clients.retry import Outage
from bus.connection import Connection, client_config
from bus.errors.client_errors import ClientErrors, unavailable
from bus.errors.refusals import MessageRefused
from bus.errors.unavailable import BusUnavailable
from bus.messages.dead_letter import DeadLetterMessage, dead_letter
from bus.schema_registry.writer_schemas import WriterSchemas
from bus.topics import ALERTS, NOTIFIER_DEAD_LETTERS
from notifier.delivery.stats import SinkStats
from notifier.queue.delivered_ids import DeliveredIds
from notifier.queue.outbox import Queued
from schemas.alert import ALERT_FORMAT, BadAlert, decode_alert

ONLY_FOR = "lanner_sink"
"""Header of a replayed alert: the one sink that it is for."""
DEAD_LETTER_SECONDS = 30.0
STATISTICS_MS = 5000


class KafkaQueue:
    """What waits for one sink in `alerts`; used by the sink's own thread only."""

    def __init__(
        self, connection: Connection, sink: str, folder: Path, tally: SinkStats, on_note: Callable[[str], None]
    ) -> None:
        """Join the group.

        Args:
            connection: the broker.
            sink: its name; the group is called after it.
            folder: where ids of delivered alerts are recorded.
            tally: counts duplicates.
            on_note: receives that the broker is away, and that it is back.

        Raises:
            BusUnavailable: the client can't be set up.
            OutboxUnusable: the record of ids can't be opened.
        """
        self.assigned = False
        self.lag: dict[tuple[str, int], int] = {}
        """By topic and partition, how many messages are not through yet, as of some seconds ago."""
        self.is_connected = False
        """Whether a broker was reached, as of some seconds ago."""
        self._connection = connection
        self._sink = sink
        self._tally = tally
        self._seen = DeliveredIds(folder / f"{sink}.seen.db")
        self._pending: deque[tuple[Queued, Message]] = deque()
        self._ids: set[str] = set()
        """Of what is pending: one that comes again before it was delivered is a duplicate too."""
        self._number = 0
        self._paused: list[TopicPartition] = []
        self._again: dict[tuple[str, int], int] = {}
        """By topic and partition, from where what was not taken has to come again."""
        self._dead: ResendingProducer | None = None
        self._trouble = ClientErrors(connection)
        self._outage = Outage(f"{sink}: what has not been read", on_note)
        self._schemas = WriterSchemas(connection, (ALERT_FORMAT,))
        config: dict[str, Any] = client_config(connection, f"lanner-notifier-{sink}") | {
            "group.id": connection.topic(f"notifier.{sink}"),
            "enable.auto.commit": True,
            # Only what was stored after delivery is committed, twice a second and at the end.
            "enable.auto.offset.store": False,
            "auto.commit.interval.ms": 500,
            "auto.offset.reset": "earliest",
            # A notifier that died is replaced after ten seconds, not after librdkafka's forty-five.
            "session.timeout.ms": 10_000,
            # One that dies while the group is sharing out anew is waited for so long (else five minutes).
            "max.poll.interval.ms": 60_000,
            "fetch.wait.max.ms": 50,
            "queued.max.messages.kbytes": 8 * 1024,
            "partition.assignment.strategy": "cooperative-sticky",
            "error_cb": self._trouble.on_error,
            "statistics.interval.ms": STATISTICS_MS,
            "stats_cb": self._on_statistics,
        }
        try:
            self._consumer = Consumer(config)
            self._consumer.subscribe(
                [connection.topic(ALERTS)],
                on_assign=self._on_assign,
                on_revoke=self._on_revoke,
                on_lost=self._on_revoke,
            )
        except KafkaException as error:
            raise unavailable(connection, error.args[0]) from None

    def waiting(self, most: int, timeout: float) -> Sequence[Queued]:
        """Give the oldest alerts; those of other sinks, duplicates and what is no alert are let go on the way."""
        with self._as_os_error():
            self._go_back()
            if self._paused:
                self._consumer.resume(self._paused)
                self._paused = []
            until = time.monotonic() + timeout
            while len(self._pending) < most:
                left = 0.0 if self._pending else max(0.0, until - time.monotonic())
                messages = self._consumer.consume(most - len(self._pending), left)
                self._take_all(messages)
                if not messages:
                    self._tell_of_trouble()
                    break
        return [queued for queued, _ in list(self._pending)[:most]]

    def idle(self, seconds: float) -> None:
        """Stay in the group while the sink is down."""
        with self._as_os_error():
            self._go_back()
            if not self._paused:
                self._paused = self._consumer.assignment()
                self._consumer.pause(self._paused)
            self._take_all(self._consumer.consume(1, seconds))

    def done(self, queued: Sequence[Queued]) -> None:
        """Record ids, then let the messages' offsets be committed."""
        self._seen.record([each.alert.id for each in queued])
        for message in self._removed(queued):
            self._store(message)

    def bury(self, queued: Queued, reason: str, attempts: int) -> None:
        """Put an alert to the dead letters, and let go of it when all replicas have it."""
        for message in self._removed([queued], keep=True):
            self._bury(message, reason, attempts)
        for message in self._removed([queued]):
            self._store(message)

    def backlog(self) -> int:
        """Give how many are at hand; how many the broker has besides is the group's lag."""
        return len(self._pending)

    def oldest(self) -> float | None:
        """Give when the oldest at hand was taken; wall clock, seconds."""
        try:
            return self._pending[0][0].taken
        except IndexError:
            return None

    def close(self) -> None:
        """Leave the group; what was delivered is committed."""
        self._consumer.close()
        self._seen.close()

    def _tell_of_trouble(self) -> None:
        """Raise OSError where the broker doesn't let this client in any more."""
        told = self._trouble.newest
        if told is not None and self._trouble.is_final:
            self._trouble.newest = None
            raise OSError(str(self._trouble.unavailable(told)))

    @contextmanager
    def _as_os_error(self) -> Iterator[None]:
        """Make of whatever the client raises the OSError that says: not now."""
        try:
            yield
        except KafkaException as error:
            raise OSError(str(self._trouble.unavailable(error.args[0]))) from None

    def _take_all(self, messages: Sequence[Message]) -> None:
        """Take messages; raises OSError where one can't be dealt with now: it comes again, and all behind it."""
        for number, message in enumerate(messages):
            try:
                self._take(message)
            except (BusUnavailable, OSError) as trouble:
                for left in messages[number:]:
                    if left.error() is None:
                        self._again.setdefault((left.topic() or "", left.partition() or 0), left.offset() or 0)
                raise OSError(str(trouble)) from None

    def _go_back(self) -> None:
        """Have come again what was not taken: from here on, messages behind it would be taken for the next."""
        for (topic, partition), offset in list(self._again.items()):
            self._consumer.seek(TopicPartition(topic, partition, offset))
            del self._again[topic, partition]

    def _take(self, message: Message) -> None:
        error = message.error()
        if error is not None:
            if error.code() in (KafkaError.TOPIC_AUTHORIZATION_FAILED, KafkaError.GROUP_AUTHORIZATION_FAILED):
                raise OSError(str(unavailable(self._connection, error)))
            return
        only_for = next((value for name, value in _headers(message) if name == ONLY_FOR), None)
        if only_for is not None and only_for != self._sink.encode():
            self._pass(message)
            return
        try:
            alert = decode_alert(self._schemas.translate(message.value() or b""))
        except BadAlert as fault:
            self._bury(message, str(fault), 0)
            self._pass(message)
            return
        if alert.id in self._ids or self._seen.has(alert.id):
            self._tally.duplicates += 1
            self._pass(message)
            return
        self._number += 1
        _, milliseconds = message.timestamp()
        self._ids.add(alert.id)
        self._pending.append((Queued(self._number, alert, milliseconds / 1000), message))

    def _pass(self, message: Message) -> None:
        """Let a message go that is not to be delivered; only if none before it in its partition still waits."""
        if all(other.partition() != message.partition() for _, other in self._pending):
            self._store(message)

    def _removed(self, queued: Sequence[Queued], *, keep: bool = False) -> Iterator[Message]:
        numbers = {each.number for each in queued}
        found = [message for each, message in self._pending if each.number in numbers]
        if not keep:
            self._keep(lambda pair: pair[0].number not in numbers)
        yield from found

    def _keep(self, wanted: Callable[[tuple[Queued, Message]], bool]) -> None:
        self._pending = deque(filter(wanted, self._pending))
        self._ids = {queued.alert.id for queued, _ in self._pending}

    def _store(self, message: Message) -> None:
        waits = [other for _, other in self._pending if other.partition() == message.partition()]
        if any((other.offset() or 0) < (message.offset() or 0) for other in waits):
            return
        try:
            self._consumer.store_offsets(message)
        except KafkaException:
            # The partition went to another member meanwhile: it delivers this once more, or drops it by its id.
            return

    def _bury(self, message: Message, reason: str, attempts: int) -> None:
        """Produce a dead letter and wait for its acknowledgement; without the alert where that makes it too large.

        Raises:
            OSError: the broker does not take it now.
        """
        letter = dead_letter(
            reason,
            (message.topic() or "", message.partition() or 0, message.offset() or 0),
            message.key(),
            message.value(),
            _headers(message),
            facts=[("sink", self._sink.encode()), ("attempts", str(attempts).encode())],
        )
        try:
            self._put(letter)
        except MessageRefused:
            try:
                self._put(letter.without_message())
            except MessageRefused as error:
                raise OSError(f"the broker does not accept dead letters: {error}") from None

    def _put(self, letter: DeadLetterMessage) -> None:
        """Produce a dead letter and wait for its acknowledgement. Raises OSError, and Refused for this letter alone."""
        if self._dead is None:
            self._dead = resending_producer(self._connection, f"lanner-notifier-{self._sink}", queue_bytes=8 << 20)
        topic = self._connection.topic(NOTIFIER_DEAD_LETTERS)
        message = Outgoing(topic, letter.key, letter.value, letter.headers)
        (failure,) = deliver(self._dead, [message], DEAD_LETTER_SECONDS)
        if isinstance(failure, MessageRefused):
            raise failure
        if failure is not None:
            raise OSError(str(failure))

    def _on_statistics(self, text: str) -> None:
        """Take the client's own account. Source: librdkafka's STATISTICS.md."""
        told = json.loads(text)
        self.is_connected = any(each["state"] == "UP" for each in told["brokers"].values())
        if self.is_connected:
            self._outage.is_over()
        elif not self._trouble.is_final:
            last = self._trouble.newest or KafkaError(KafkaError._TIMED_OUT)  # noqa: SLF001  the client's own name
            self._outage.goes_on(self._trouble.unavailable(last))
        self.lag = {
            (topic, partition["partition"]): partition["consumer_lag_stored"]
            for topic, each in told["topics"].items()
            for partition in each["partitions"].values()
            # -1 where it isn't known, such as for partitions of other members.
            if partition["consumer_lag_stored"] >= 0
        }

    def _on_assign(self, _: Consumer, __: list[TopicPartition]) -> None:
        self.assigned = True

    def _on_revoke(self, _: Consumer, partitions: list[TopicPartition]) -> None:
        gone = {each.partition for each in partitions}
        self._again = {place: offset for place, offset in self._again.items() if place[1] not in gone}
        self._keep(lambda pair: pair[1].partition() not in gone)
        self._paused = [each for each in self._paused if each.partition not in gone]


def _headers(message: Message) -> list[tuple[str, bytes]]:
    """Give a message's headers, those without a value left out."""
    found: Any = message.headers() or []
    return [(name, value) for name, value in found if isinstance(value, bytes)]
