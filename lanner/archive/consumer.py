"""Reads the topics of events and alerts for an archive, as a member of a consumer group.

The files of the archive state where reading continues. The group only shares the partitions among processes, and shows
how far the archive is behind; its committed offsets count for partitions of which there are no files.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, cast

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, TopicPartition

from bus.acls import ARCHIVE_GROUP
from bus.clients.availability import ConnectionState, Outage, close_aside
from bus.clients.errors import TIMEOUT_SECONDS, ClientErrors, unavailable
from bus.clients.readers import forbids_reading, make_consumer
from bus.connection import BusUnavailable, Connection
from bus.topics import ALERTS, EVENTS
from foundation.text import OnNote
from lanner.archive.files import ArchiveFiles, positions
from lanner.archive.intake import Intake, Kind, Overtaken
from lanner.errors import BadInput
from schemas.encoding.batch import BadBatch

_POLL_SECONDS = 0.2
_AT_ONCE = 20
"""Messages that are taken from the client before the limit of bytes is looked at; each has up to 4 MiB."""
_RETRY_SECONDS = 5.0
_DATASETS: Mapping[Kind, str] = {"events": "batches", "alerts": "alerts"}
"""The dataset whose files state where reading continues: the last one that is written."""


class ArchiveConsumer:
    """Passes messages to an intake; used by one thread."""

    def __init__(self, connection: Connection, files: ArchiveFiles, intake: Intake, note: OnNote) -> None:
        """Join the group. note: receives outages. Raises BusUnavailable if the client can't be created."""
        self.missed = 0
        """Messages that the broker deleted before they were stored."""
        self.lag: dict[tuple[str, int], int] = {}
        """Messages that are not stored yet, by topic and partition, as of some seconds ago."""
        self.assigned = False
        self.failure = ""
        """Why the folder can't be used now; empty if it can."""
        self._connection = connection
        self._files = files
        self._intake = intake
        self._note = note
        self._kinds: Mapping[str, Kind] = {connection.topic(EVENTS): "events", connection.topic(ALERTS): "alerts"}
        self._errors = ClientErrors(connection)
        self._state = ConnectionState(self._on_statistics)
        self._broker = Outage("what has not been read", note)
        self._storage = Outage("what has been read", note, of="the archive")
        self._next: dict[tuple[str, int], int] = {}
        """The offset of the next message of each partition that is read."""
        self._unplaced: list[TopicPartition] = []
        """Partitions of this member whose positions are not known yet."""
        self._retry_at = 0.0
        self._paused: list[TopicPartition] = []
        self._consumer = self._joined()

    @property
    def is_connected(self) -> bool:
        """True if a broker was connected some seconds ago."""
        return self._state.is_connected

    @property
    def leads(self) -> bool:
        """True if this member has the first partition of events: it does what one process does for all."""
        return (self._connection.topic(EVENTS), 0) in self._next

    def _joined(self) -> Consumer:
        consumer = make_consumer(
            self._connection,
            "lanner-archive",
            self._errors,
            group=self._connection.topic(ARCHIVE_GROUP),
            options={
                "session.timeout.ms": 10_000,
                "enable.partition.eof": False,
                "fetch.wait.max.ms": 500,
                **self._state.options,
            },
        )
        try:
            consumer.subscribe(
                list(self._kinds), on_assign=self._on_assign, on_revoke=self._on_revoke, on_lost=self._on_revoke
            )
        except KafkaException as error:
            raise unavailable(self._connection, error.args[0]) from None
        return consumer

    def run(self, stop: Callable[[], bool], turn: Callable[[], None]) -> None:
        """Read and store until `stop` returns True; then store the rest. turn: called several times a second.

        Raises:
            BusUnavailable: reading is forbidden.
            BadInput: a topic was created again, so the archive's offsets are those of another one.
        """
        try:
            while not stop():
                turn()
                self._step(time.monotonic())
            self._store(self._intake.store_all())
        finally:
            self._consumer.close()

    def _step(self, now: float) -> None:
        if self._state.is_stalled:
            self._renew()
        if self._unplaced and now >= self._retry_at:
            self._place(now)
        for message in self._consumer.consume(_AT_ONCE, _POLL_SECONDS):
            self._take(message, now)
        if now >= self._retry_at:
            self._store(self._intake.store_due(now))

    def _take(self, message: Any, now: float) -> None:
        error = message.error()
        if error is not None:
            if forbids_reading(error) or error.code() == KafkaError.GROUP_AUTHORIZATION_FAILED:
                raise unavailable(self._connection, error)
            return
        at = (message.topic(), message.partition())
        if at not in self._next:
            # It was fetched before the partition was given away.
            return
        due, offset = self._next[at], message.offset()
        if offset < due:
            raise BadInput(
                f"archive.folder: {self._files.root}: {at[0]}[{at[1]}] continues at {due} there, but the broker has "
                f"{offset}: the topic was created again. Move the archive to another folder, or name another one."
            )
        if offset > due >= 0:
            self.missed += offset - due
            self._note(
                f"{at[0]}[{at[1]}]: the broker deleted {offset - due:,} messages before they were archived.", "warning"
            )
        self._next[at] = offset + 1
        self._intake.take(self._kinds[at[0]], message, now)

    def _store(self, stored: Iterator[tuple[Kind, int, int]]) -> None:
        """Store what is due, and commit it; while the folder can't be written to, read nothing more."""
        names = {kind: topic for topic, kind in self._kinds.items()}
        try:
            for kind, partition, end in stored:
                self._commit(TopicPartition(names[kind], partition, end))
        except Overtaken as error:
            self._note(f"{error}; continuing after that.", "warning")
            self._reread()
        except (OSError, BadBatch, BusUnavailable) as error:
            self._fails(f"the archive {self._files.root} can't be used: {str(error).rstrip('.')}")
            self._pause()
        else:
            self._works()
            if self._paused:
                self._consumer.resume(self._paused)
                self._paused = []

    def _works(self) -> None:
        self.failure = ""
        self._storage.is_over()

    def _fails(self, reason: str) -> None:
        self.failure = reason
        self._storage.goes_on(reason)
        self._retry_at = time.monotonic() + _RETRY_SECONDS

    def _pause(self) -> None:
        if not self._paused:
            self._paused = self._consumer.assignment()
            self._consumer.pause(self._paused)

    def _commit(self, position: TopicPartition) -> None:
        try:
            self._consumer.commit(offsets=[position], asynchronous=True)
        except KafkaException:
            # The files count. Another member may have the partition now.
            return

    def _place(self, now: float) -> None:
        """Read this member's partitions from where the files end."""
        wanted = self._unplaced
        try:
            starts = self._starts(wanted)
        except (OSError, BadBatch) as error:
            self._fails(f"the archive {self._files.root} can't be read: {str(error).rstrip('.')}")
            return
        except KafkaException as error:
            self._broker.goes_on(self._errors.unavailable(error.args[0]))
            self._retry_at = now + _RETRY_SECONDS
            return
        self._works()
        self._unplaced = []
        self._paused = []
        # A partition without files may have lost messages before; -1 doesn't compare.
        self._next = {(each.topic, each.partition): max(each.offset, -1) for each in starts}
        self._consumer.assign(starts)
        self.assigned = True

    def _starts(self, wanted: Sequence[TopicPartition]) -> list[TopicPartition]:
        found: dict[tuple[str, int], int] = {}
        for topic, kind in self._kinds.items():
            numbers = [each.partition for each in wanted if each.topic == topic]
            stored = positions(self._files, _DATASETS[kind], numbers) if numbers else {}
            found |= {(topic, number): offset for number, offset in stored.items()}
        others = [each for each in wanted if (each.topic, each.partition) not in found]
        for each in self._consumer.committed(others, TIMEOUT_SECONDS) if others else ():
            if each.error is not None:
                raise KafkaException(each.error)
            found[each.topic, each.partition] = each.offset if each.offset >= 0 else OFFSET_BEGINNING
        return [TopicPartition(each.topic, each.partition, found[each.topic, each.partition]) for each in wanted]

    def _reread(self) -> None:
        """Drop what is buffered, and read it again from where the files end now."""
        held = [TopicPartition(topic, number) for topic, number in self._next]
        self._drop(held)
        self._unplaced = held

    def _drop(self, partitions: Sequence[TopicPartition]) -> None:
        for each in partitions:
            self._next.pop((each.topic, each.partition), None)
            self._intake.forget(self._kinds[each.topic], [each.partition])

    def _renew(self) -> None:
        """Replace a client that has lost its brokers permanently."""
        try:
            fresh = self._joined()
        except BusUnavailable as error:
            self._broker.goes_on(error)
            return
        self._state.renewed()
        self._drop([TopicPartition(topic, number) for topic, number in self._next])
        self._unplaced, self._paused = [], []
        former, self._consumer = self._consumer, fresh
        close_aside(former)

    def _on_assign(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        # Positions come from the files, which may take some time or fail: that is done between polls.
        consumer.assign([])
        self._unplaced = list(partitions)
        self._retry_at = 0.0

    def _on_revoke(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        if consumer is self._consumer:
            self._drop(partitions)
            self._unplaced, self._paused = [], []
        consumer.unassign()

    def _on_statistics(self, statistics: Mapping[str, Any]) -> None:
        if self._state.is_connected:
            self._broker.is_over()
        elif not self._errors.is_final:
            last = self._errors.newest or KafkaError(KafkaError._TIMED_OUT)  # noqa: SLF001  the client's own name
            self._broker.goes_on(self._errors.unavailable(last))
        self.lag = {
            (cast("str", topic), partition["partition"]): partition["consumer_lag"]
            for topic, each in statistics["topics"].items()
            for partition in each["partitions"].values()
            if partition["consumer_lag"] >= 0
        }
