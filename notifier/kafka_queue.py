"""A sink's queue in Kafka: its own consumer group on the topic `alerts`.

An offset is committed after the sink accepted the alert and its id was recorded on disk. While the sink is down, the
partitions are paused and polling continues, so that the consumer stays a member of its group.
"""

import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from bus.clients.availability import ConnectionState, Outage, close_aside
from bus.clients.errors import ClientErrors, MessageRefused, unavailable
from bus.clients.producers import Outgoing, ResendingProducer, deliver, resending_producer
from bus.clients.writer_schemas import WriterSchemas
from bus.connection import BusUnavailable, Connection, client_config
from bus.messages import DeadLetterMessage, dead_letter
from bus.topics import ALERTS, NOTIFIER_DEAD_LETTERS
from foundation.sqlite import as_os_errors, open_database, opening, transaction
from foundation.text import OnNote
from notifier.outbox import Queued
from notifier.sink import SinkStats
from schemas.alert import ALERT_FORMAT, BadAlert, decode_alert

REMEMBERED = 500_000
"""About 40 MB on disk: hours of a busy fleet, while a consumer group goes back by seconds at most."""
_PRUNE_EVERY = 5000
_TABLE = "CREATE TABLE IF NOT EXISTS seen (number INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT UNIQUE)"


class DeliveredIds:
    """The newest ids."""

    def __init__(self, path: Path, *, remembered: int = REMEMBERED) -> None:
        """Open the file; create it if missing. Raises DatabaseUnusable."""
        self._remembered = remembered
        self._since_pruned = 0
        with opening(path):
            self._base = open_database(path, _TABLE)

    def __contains__(self, alert_id: str) -> bool:
        """Return whether an id was recorded recently. Raises OSError."""
        with as_os_errors():
            return self._base.execute("SELECT 1 FROM seen WHERE id = ?", (alert_id,)).fetchone() is not None

    def record(self, ids: Sequence[str]) -> None:
        """Record ids, all or none. Raises OSError."""
        with transaction(self._base):
            self._base.executemany("INSERT OR IGNORE INTO seen (id) VALUES (?)", [(each,) for each in ids])
            self._since_pruned += len(ids)
            if self._since_pruned >= _PRUNE_EVERY:
                self._since_pruned = 0
                self._base.execute(
                    "DELETE FROM seen WHERE number <= (SELECT max(number) FROM seen) - ?", (self._remembered,)
                )

    def close(self) -> None:
        """Close the file."""
        self._base.close()


ONLY_FOR = "lanner_sink"
"""Header of a replayed alert: the only sink that delivers it."""
DEAD_LETTER_SECONDS = 30.0


class KafkaQueue:
    """Alerts in `alerts` that wait for one sink; used by the sink's thread only."""

    def __init__(self, connection: Connection, sink: str, folder: Path, stats: SinkStats, report: OnNote) -> None:
        """Join the group.

        Args:
            connection: the broker.
            sink: its name, which the group's name contains.
            folder: where ids of delivered alerts are stored.
            stats: counts duplicates.
            report: called when the broker becomes unavailable, and when it is back.

        Raises:
            BusUnavailable: the client can't be created.
            DatabaseUnusable: the file of ids can't be opened.
        """
        self.assigned = False
        self.lag: dict[tuple[str, int], int] = {}
        """Unprocessed messages by topic and partition, as of some seconds ago."""
        self._state = ConnectionState(self._on_statistics)
        self._connection = connection
        self._sink = sink
        self._stats = stats
        self._delivered = DeliveredIds(folder / f"{sink}.seen.db")
        self._pending: deque[tuple[Queued, Message]] = deque()
        self._ids: set[str] = set()
        """Ids of pending alerts: a second one that arrives before delivery is a duplicate too."""
        self._number = 0
        self._paused: list[TopicPartition] = []
        self._rewind_to: dict[tuple[str, int], int] = {}
        """Offset by topic and partition from which messages must be consumed again."""
        self._dead_letters: ResendingProducer | None = None
        self._errors = ClientErrors(connection)
        self._outage = Outage(f"{sink}: what has not been read", report)
        self._schemas = WriterSchemas(connection, (ALERT_FORMAT,))
        self._consumer = self._joined()

    @property
    def is_connected(self) -> bool:
        """True if a broker was connected some seconds ago."""
        return self._state.is_connected

    def _joined(self) -> Consumer:
        """Return a new client that joins the group. Raises BusUnavailable if it can't be created."""
        connection = self._connection
        config: dict[str, Any] = client_config(connection, f"lanner-notifier-{self._sink}") | {
            "group.id": connection.topic(f"notifier.{self._sink}"),
            "enable.auto.commit": True,
            # Only offsets stored after delivery are committed, twice a second and at the end.
            "enable.auto.offset.store": False,
            "auto.commit.interval.ms": 500,
            "auto.offset.reset": "earliest",
            # Replace a notifier that died after 10 s, not after librdkafka's 45 s.
            "session.timeout.ms": 10_000,
            # Limits the wait for a member that dies during a rebalance (default: 5 minutes).
            "max.poll.interval.ms": 60_000,
            "fetch.wait.max.ms": 50,
            "queued.max.messages.kbytes": 8 * 1024,
            "partition.assignment.strategy": "cooperative-sticky",
            "error_cb": self._errors.on_error,
            **self._state.options,
        }
        try:
            consumer = Consumer(config)
            consumer.subscribe(
                [connection.topic(ALERTS)],
                on_assign=self._on_assign,
                on_revoke=self._on_revoke,
                on_lost=self._on_revoke,
            )
        except KafkaException as error:
            raise unavailable(connection, error.args[0]) from None
        return consumer

    def fetch(self, limit: int, timeout: float) -> Sequence[Queued]:
        """Return the oldest alerts; skip alerts replayed to other sinks, duplicates and invalid messages."""
        with self._as_os_error():
            self._renew()
            self._rewind()
            if self._paused:
                self._consumer.resume(self._paused)
                self._paused = []
            until = time.monotonic() + timeout
            while len(self._pending) < limit:
                left = 0.0 if self._pending else max(0.0, until - time.monotonic())
                messages = self._consumer.consume(limit - len(self._pending), left)
                self._accept_all(messages)
                if not messages:
                    self._raise_fatal()
                    break
        return [queued for queued, _ in list(self._pending)[:limit]]

    def pause(self, seconds: float) -> None:
        """Stay in the group while the sink is down."""
        with self._as_os_error():
            self._renew()
            self._rewind()
            if not self._paused:
                self._paused = self._consumer.assignment()
                self._consumer.pause(self._paused)
            self._accept_all(self._consumer.consume(1, seconds))

    def acknowledge(self, queued: Sequence[Queued]) -> None:
        """Record ids, then mark the messages' offsets for commit."""
        self._delivered.record([each.alert.id for each in queued])
        self._finish(queued)

    def dead_letter(self, queued: Queued, reason: str, attempts: int) -> None:
        """Produce a dead letter, and remove the alert once all replicas have it."""
        for each, message in list(self._pending):
            if each.number == queued.number:
                self._dead_letter(message, reason, attempts)
        self._finish([queued])

    def backlog(self) -> int:
        """Return how many alerts are buffered here; the group's lag counts those still at the broker."""
        return len(self._pending)

    def oldest(self) -> float | None:
        """Return when the oldest buffered alert was produced: wall clock, seconds."""
        try:
            return self._pending[0][0].taken
        except IndexError:
            return None

    def close(self) -> None:
        """Commit what was delivered, and leave the group."""
        self._consumer.close()
        self._delivered.close()

    def _raise_fatal(self) -> None:
        """Raise OSError if the broker has denied this client access."""
        error = self._errors.newest
        if error is not None and self._errors.is_final:
            self._errors.clear()
            raise OSError(str(self._errors.unavailable(error)))

    @contextmanager
    def _as_os_error(self) -> Iterator[None]:
        """Convert the client's exceptions to OSError, which means: retry later."""
        try:
            yield
        except KafkaException as error:
            raise OSError(str(self._errors.unavailable(error.args[0]))) from None

    def _accept_all(self, messages: Sequence[Message]) -> None:
        """Accept messages. Raise OSError if one can't be handled now; it and all after it are consumed again."""
        for number, message in enumerate(messages):
            try:
                self._accept(message)
            except (BusUnavailable, OSError) as error:
                for left in messages[number:]:
                    if left.error() is None:
                        self._rewind_to.setdefault((left.topic() or "", left.partition() or 0), left.offset() or 0)
                raise OSError(str(error)) from None

    def _renew(self) -> None:
        """Replace a client that has lost its brokers permanently.

        It begins at the committed offsets; ids of delivered alerts keep it from delivering one twice.
        """
        if not self._state.is_stalled:
            return
        try:
            fresh = self._joined()
        except BusUnavailable as error:
            raise OSError(str(error)) from None
        self._state.renewed()
        self.assigned = False
        self._on_revoke(self._consumer, self._consumer.assignment())
        former, self._consumer = self._consumer, fresh
        close_aside(former)

    def _rewind(self) -> None:
        """Seek back to messages that were not accepted, so that none after them is taken first."""
        for (topic, partition), offset in list(self._rewind_to.items()):
            self._consumer.seek(TopicPartition(topic, partition, offset))
            del self._rewind_to[topic, partition]

    def _accept(self, message: Message) -> None:
        error = message.error()
        if error is not None:
            if error.code() in (KafkaError.TOPIC_AUTHORIZATION_FAILED, KafkaError.GROUP_AUTHORIZATION_FAILED):
                raise OSError(str(unavailable(self._connection, error)))
            return
        only_for = next((value for name, value in _headers(message) if name == ONLY_FOR), None)
        if only_for is not None and only_for != self._sink.encode():
            self._skip(message)
            return
        try:
            alert = decode_alert(self._schemas.translate(message.value() or b""))
        except BadAlert as fault:
            self._dead_letter(message, str(fault), 0)
            self._skip(message)
            return
        if alert.id in self._ids or alert.id in self._delivered:
            self._stats.duplicates += 1
            self._skip(message)
            return
        self._number += 1
        _, milliseconds = message.timestamp()
        self._ids.add(alert.id)
        self._pending.append((Queued(self._number, alert, milliseconds / 1000), message))

    def _skip(self, message: Message) -> None:
        """Mark an undeliverable message for commit, if none before it in its partition is pending."""
        if all(other.partition() != message.partition() for _, other in self._pending):
            self._store(message)

    def _finish(self, queued: Sequence[Queued]) -> None:
        numbers = {each.number for each in queued}
        done = [message for each, message in self._pending if each.number in numbers]
        self._retain(lambda pair: pair[0].number not in numbers)
        for message in done:
            self._store(message)

    def _retain(self, predicate: Callable[[tuple[Queued, Message]], bool]) -> None:
        self._pending = deque(filter(predicate, self._pending))
        self._ids = {queued.alert.id for queued, _ in self._pending}

    def _store(self, message: Message) -> None:
        waits = [other for _, other in self._pending if other.partition() == message.partition()]
        if any((other.offset() or 0) < (message.offset() or 0) for other in waits):
            return
        try:
            self._consumer.store_offsets(message)
        except KafkaException:
            # Another member has the partition now: it delivers this once more, or drops it by its id.
            return

    def _dead_letter(self, message: Message, reason: str, attempts: int) -> None:
        """Produce a dead letter and wait for its acknowledgement; omit an alert that makes it too large.

        Raises:
            OSError: the broker does not accept it now.
        """
        dead = dead_letter(
            reason,
            (message.topic() or "", message.partition() or 0, message.offset() or 0),
            message.key(),
            message.value(),
            _headers(message),
            facts=[("sink", self._sink.encode()), ("attempts", str(attempts).encode())],
        )
        try:
            self._produce(dead)
        except MessageRefused:
            try:
                self._produce(dead.without_message())
            except MessageRefused as error:
                raise OSError(f"the broker does not accept dead letters: {error}") from None

    def _produce(self, dead: DeadLetterMessage) -> None:
        """Produce a dead letter and wait for its acknowledgement. Raises OSError, and MessageRefused for a bad one."""
        if self._dead_letters is None:
            self._dead_letters = resending_producer(
                self._connection, f"lanner-notifier-{self._sink}", queue_bytes=8 << 20
            )
        topic = self._connection.topic(NOTIFIER_DEAD_LETTERS)
        message = Outgoing(topic, dead.key, dead.value, dead.headers)
        (failure,) = deliver(self._dead_letters, [message], DEAD_LETTER_SECONDS)
        if isinstance(failure, MessageRefused):
            raise failure
        if failure is not None:
            raise OSError(str(failure))

    def _on_statistics(self, statistics: Mapping[str, Any]) -> None:
        if self._state.is_connected:
            self._outage.is_over()
        elif not self._errors.is_final:
            last = self._errors.newest or KafkaError(KafkaError._TIMED_OUT)  # noqa: SLF001  the client's own name
            self._outage.goes_on(self._errors.unavailable(last))
        self.lag = {
            (topic, partition["partition"]): partition["consumer_lag_stored"]
            for topic, each in statistics["topics"].items()
            for partition in each["partitions"].values()
            # -1 if unknown, as for partitions of other members.
            if partition["consumer_lag_stored"] >= 0
        }

    def _on_assign(self, consumer: Consumer, _: list[TopicPartition]) -> None:
        self.assigned = self.assigned or consumer is self._consumer

    def _on_revoke(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        if consumer is not self._consumer:
            # It is closing: another client has taken its place.
            return
        gone = {each.partition for each in partitions}
        self._rewind_to = {key: offset for key, offset in self._rewind_to.items() if key[1] not in gone}
        self._retain(lambda pair: pair[1].partition() not in gone)
        self._paused = [each for each in self._paused if each.partition not in gone]


def _headers(message: Message) -> list[tuple[str, bytes]]:
    """Return a message's headers that have a value."""
    found: Any = message.headers() or []
    return [(name, value) for name, value in found if isinstance(value, bytes)]
