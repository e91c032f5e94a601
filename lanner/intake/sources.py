"""The sources of audit events that run on a loop: a file that is followed, and a topic."""

import asyncio
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence

from confluent_kafka import Consumer, KafkaError, KafkaException, Message

from bus.clients.availability import ConnectionState, close_aside
from bus.clients.errors import unusable
from bus.clients.readers import make_consumer
from bus.connection import Connection
from foundation.text import OnNote
from lanner.intake.delivery import AuditDelivery
from lanner.intake.documents import MAX_BODY_BYTES, BadDocument, RawEvent, split, unpacked
from lanner.intake.log_file import LogFollower

_BATCH = 500
_QUIET = frozenset({KafkaError._PARTITION_EOF, KafkaError._MAX_POLL_EXCEEDED})  # noqa: SLF001  the client's names


class AuditTopicReader:
    """One member of the group."""

    def __init__(self, connection: Connection, topic: str, group: str, on_note: OnNote) -> None:
        """Join the group.

        Args:
            connection: the broker of the topic.
            topic: full name.
            group: full name.
            on_note: receives messages for an operator.

        Raises:
            BusUnavailable: the client can't use the settings.
        """
        self._topic = topic
        self._on_note = on_note
        self._reported = ""
        # A canceled caller closes while its last call may still run on another thread.
        self._lock = threading.Lock()
        self._connection = connection
        self._group = group
        self._state = ConnectionState()
        self._consumer = self._joined()

    def _joined(self) -> Consumer:
        options = {**self._state.options, "enable.partition.eof": False}
        consumer = make_consumer(self._connection, "lanner-audit-intake", group=self._group, options=options)
        try:
            consumer.subscribe([self._topic])
        except KafkaException as error:
            raise unusable(error.args[0]) from None
        return consumer

    def next(self, seconds: float) -> list[Message]:
        """Return further messages, after a while possibly none. Raises RuntimeError after `close`."""
        with self._lock:
            if self._state.is_stalled:
                former, self._consumer = self._consumer, self._joined()
                self._state.renewed()
                close_aside(former)
            taken = self._consumer.consume(_BATCH, seconds)
        found = []
        for message in taken:
            error = message.error()
            if error is None:
                found.append(message)
            elif error.code() not in _QUIET:
                self._report(error.str())
        if found:
            self._reported = ""
        return found

    def commit(self, messages: Sequence[Message]) -> None:
        """Commit the offsets after messages. If that fails, they are read again, by this member or another."""
        try:
            # The last one of each partition counts.
            for message in {message.partition(): message for message in messages}.values():
                self._consumer.commit(message=message, asynchronous=False)
        except KafkaException as error:
            self._report(error.args[0].str())

    def close(self) -> None:
        """Leave the group."""
        with self._lock:
            self._consumer.close()

    def _report(self, problem: str) -> None:
        if problem != self._reported:
            self._reported = problem
            self._on_note(f"topic {self._topic}: {problem}. It is tried again.", "warning")


_IDLE_SECONDS = 0.2
_RETRY_SECONDS = 2.0
_POLL_SECONDS = 0.2


def event_groups(documents: Iterable[bytes]) -> Iterator[list[RawEvent]]:
    """Yield the events of documents, of not many megabytes at a time.

    A document that can't be read is passed on: it becomes a dead letter.
    """
    found: list[RawEvent] = []
    size = 0
    for document in documents:
        try:
            found += split(document)
        except BadDocument:
            found.append(RawEvent(None, document))
        size += len(document)
        if size > MAX_BODY_BYTES:
            yield found
            found, size = [], 0
    yield found


async def _store(documents: Iterable[bytes], delivery: AuditDelivery) -> None:
    groups = event_groups(documents)
    while (events := await asyncio.to_thread(next, groups, None)) is not None:
        await delivery.store(events)


async def follow_file(
    follower: LogFollower, delivery: AuditDelivery, on_note: OnNote, at: Callable[[str], None] = lambda _: None
) -> None:
    """Store the events of a file until canceled.

    Args:
        follower: reads the file.
        delivery: stores events.
        on_note: receives messages for an operator.
        at: called with the name of each point between two steps; tests kill the process there.

    Raises:
        BusUnavailable: the broker can't be used, and waiting does not help.
    """
    reported = ""
    try:
        while True:
            try:
                lines = await asyncio.to_thread(follower.next)
                if lines is not None:
                    await _store(lines.lines, delivery)
                    at("stored")
                    await asyncio.to_thread(follower.commit, lines)
                    at("committed")
            except OSError as error:
                problem = f"{error.filename or 'audit log'}: {error.strerror or error}"
                if problem != reported:
                    on_note(f"{problem}. It is tried again.", "warning")
                reported = problem
                await asyncio.sleep(_RETRY_SECONDS)
                continue
            reported = ""
            if lines is None:
                await asyncio.sleep(_IDLE_SECONDS)
    finally:
        follower.close()


async def read_topic(
    reader: AuditTopicReader, delivery: AuditDelivery, at: Callable[[str], None] = lambda _: None
) -> None:
    """Store the events of a topic until canceled; arguments and errors as for a file."""
    try:
        while True:
            if messages := await asyncio.to_thread(reader.next, _POLL_SECONDS):
                await _store((unpacked(message.value() or b"") for message in messages), delivery)
                at("stored")
                await asyncio.to_thread(reader.commit, messages)
                at("committed")
    finally:
        await asyncio.shield(asyncio.to_thread(reader.close))
