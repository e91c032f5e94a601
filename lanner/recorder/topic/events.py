"""The retained events topic as a source: a time range of one host, or of all."""

from collections.abc import Callable, Generator, Mapping
from typing import Any

from bus.clients.history import TopicHistory
from bus.connection import Connection
from bus.messages.partitions import partition_of
from bus.topics import EVENTS
from lanner.cli.terminal.output import note
from lanner.recorder.around.source import EventSpan
from lanner.recorder.batches import StoredBatch, from_message
from lanner.recorder.topic.messages import reader_of_values
from schemas.codec import BadBatch
from schemas.text.times import date_and_time_seconds


class FleetHistory:
    """The events that a fleet retains."""

    def __init__(self, connection: Connection) -> None:
        """Prepare reading. Raises BusUnavailable if the registry's settings are wrong."""
        self._connection = connection
        self._value = reader_of_values(connection)

    def batches(
        self, span: EventSpan, host: str | None, remarks: list[str], stop: Callable[[], bool]
    ) -> Generator[StoredBatch]:
        """Yield the batches of a time range; EventHistory describes the arguments.

        The partition of a host's id is read first. If it has nothing of the host, all are read: the host was named, or
        the number of partitions changed since.
        """
        past = TopicHistory(self._connection, self._connection.topic(EVENTS))
        key = None if host is None else host.encode("utf-8", "surrogateescape")
        own = [] if key is None else [partition_of(key, len(past.available))]
        is_found = False
        try:
            for partitions in filter(None, (own, list(past.available))):
                for message in past.read(past.between(span.since, span.until, partitions), stop):
                    _note_retention(message, past.available, span.since, remarks)
                    if partitions is own and message.key() != key:
                        continue
                    stored = self._read(message)
                    if stored is not None and host in (None, stored.batch.host_id, stored.batch.hostname):
                        is_found = True
                        yield stored
                if is_found:
                    return
        finally:
            past.close()

    def _read(self, message: Any) -> StoredBatch | None:
        try:
            return from_message(message, self._value(message))
        except BadBatch as error:
            note(f"{message.topic()}[{message.partition()}] at {message.offset()}: {error}.")
            return None


def _note_retention(
    message: Any, available: Mapping[int, tuple[int, int]], since: int, remarks: list[str]
) -> None:  # fmt: skip
    is_oldest = message.offset() == available[message.partition()][0] > 0
    if is_oldest and message.timestamp()[1] > since:
        when = date_and_time_seconds(message.timestamp()[1] * 1_000_000)
        remarks.append(f"Events before {when} are no longer retained.")
