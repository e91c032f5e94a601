"""The topics of a fleet: `alerts` is read from where the view ends; marks and audit log are written and read."""

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from threading import Lock
from typing import Any

from bus.clients.compacted import CompactedTopicReader, CompactedTopicWriter
from bus.clients.readers import TopicReader
from bus.connection import BusUnavailable, Connection
from bus.messages import Headers
from bus.topics import ALERTS, CONSOLE_AUDIT, CONSOLE_MARKS
from lanner.console.feed import Action
from lanner.console.store.rows import Mark, mark_key, mark_value, read_mark
from schemas.alert import Alert

MAX_BATCH = 500
_JSON: Headers = [("content-type", b"application/json")]


class AlertTopic:
    """The alerts of a fleet. It joins no group: each console reads all of them."""

    def __init__(
        self,
        connection: Connection,
        decode: Callable[[Any], Alert | None],
        *,
        since_ms: int,
        positions: Mapping[int, int],
    ) -> None:
        """Start reading. Raises BusUnavailable, also if there is no such topic.

        decode: returns the alert of a message; None if it is none. since_ms: where to start in partitions without a
        position, ms since the epoch; positions: by partition, the offset of the next message.
        """
        self._decode = decode
        self._topic = connection.topic(ALERTS)
        self._reader = TopicReader(connection, self._topic, since_ms=since_ms, positions=positions)
        self._positions: dict[int, int] = {}
        self._undecoded: Any = None

    def read(self, seconds: float) -> Sequence[Alert]:
        """Return the next alerts; wait at most so many seconds. Raises OSError if the topic can't be read now."""
        found: list[Alert] = []
        until = time.monotonic() + seconds
        try:
            for _ in range(MAX_BATCH):
                wait = max(until - time.monotonic(), 0) if not found else 0
                message = self._undecoded or self._reader.poll(wait)
                if message is None:
                    if found or time.monotonic() >= until:
                        break
                    continue
                # A registry that doesn't answer raises: the message is decoded later.
                self._undecoded = message
                alert = self._decode(message)
                self._undecoded = None
                self._positions[message.partition() or 0] = (message.offset() or 0) + 1
                if alert is not None:
                    found.append(alert)
        except BusUnavailable as error:
            if not found:
                raise OSError(str(error)) from None
        return found

    def positions(self) -> Mapping[int, int]:
        """Return, by partition, the offset after what was read."""
        return dict(self._positions)

    def lag(self) -> Mapping[tuple[str, ...], int]:
        """Return, by topic and partition, the messages that were not read yet."""
        return {(self._topic, str(number)): count for number, count in self._reader.lag().items()}

    def close(self) -> None:
        """Close the connection."""
        self._reader.close()


class _Log:
    """Writes JSON to one topic, one message after the other."""

    def __init__(self, connection: Connection, topic: str) -> None:
        self._writer = CompactedTopicWriter(connection)
        self._topic = topic
        self._lock = Lock()

    def put(self, key: bytes, value: bytes | None) -> None:
        """Write a message and wait until all replicas have it. Raises OSError."""
        try:
            with self._lock:
                self._writer.put(self._topic, key, value, list(_JSON))
        except BusUnavailable as error:
            raise OSError(str(error)) from None


class MarkTopic:
    """Decisions of people, in a compacted topic: all consoles read the same."""

    def __init__(self, connection: Connection) -> None:
        """Start reading; does not block. Raises BusUnavailable if the client can't use the settings."""
        self._reader = CompactedTopicReader(connection, [CONSOLE_MARKS])
        self._log = _Log(connection, CONSOLE_MARKS)
        self._first: dict[tuple[str, str], Mark] = {}

    def read_all(self) -> Sequence[Mark] | None:
        """Return all marks once the topic has been read to its end; None before that."""
        for mark in self.read_new():
            self._first[mark.subject, mark.field] = mark
        if not self._reader.has_read_all:
            return None
        found = [mark for mark in self._first.values() if mark.value]
        self._first = {}
        return found

    def read_new(self) -> Sequence[Mark]:
        """Return the marks since the last call."""
        found: list[Mark] = []
        while len(found) < MAX_BATCH and (taken := self._reader.poll(0)) is not None:
            message = taken[1]
            mark = read_mark(message.key() or b"", message.value())
            if mark is not None:
                found.append(mark)
        return found

    def put(self, mark: Mark) -> None:
        """Write a mark and wait until all replicas have it. Raises OSError."""
        self._log.put(mark_key(mark), mark_value(mark))

    def close(self) -> None:
        """Close the connection."""
        self._reader.close()


class AuditTopic(_Log):
    """Actions of people, in a topic."""

    def __init__(self, connection: Connection) -> None:
        """Create a producer. Raises BusUnavailable if the client can't use the settings."""
        super().__init__(connection, CONSOLE_AUDIT)

    def record(self, action: Action) -> None:
        """Write an action and wait until all replicas have it. Raises OSError."""
        row = asdict(action) | {"at": datetime.fromtimestamp(action.at / 1e9, UTC).isoformat()}
        self.put(action.name.encode(), json.dumps(row).encode())

    def close(self) -> None:
        """Do nothing: every action was acknowledged."""
