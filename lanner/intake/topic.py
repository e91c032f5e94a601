"""Reads a topic of audit events as a member of a consumer group; offsets are committed by the caller only."""

import threading
from collections.abc import Sequence
from typing import Any

from confluent_kafka import Consumer, KafkaError, KafkaException, Message

from bus.clients.renewal.connection_state import ConnectionState, close_aside
from bus.connection import Connection, client_config
from bus.errors.client_errors import ClientErrors, unusable
from schemas.text.notes import OnNote

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
        config: dict[str, Any] = client_config(self._connection, "lanner-audit-intake") | {
            "group.id": self._group,
            "enable.auto.commit": False,
            "enable.auto.offset.store": False,
            "auto.offset.reset": "earliest",
            "fetch.wait.max.ms": 100,
            "queued.max.messages.kbytes": 16 * 1024,
            "error_cb": ClientErrors(self._connection).on_error,
            **self._state.options,
        }
        try:
            consumer = Consumer(config)
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
