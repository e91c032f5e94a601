"""Follows the audit events of all clusters while a processor runs, so that alerts name who requested a command.

Each processor reads all of them, because the host of a command may be any; what does not request one is not parsed.
"""

import threading
import time

from bus.clients.readers import TopicReader
from bus.connection import Connection
from bus.errors.unavailable import BusUnavailable
from bus.messages.clock_offset import append_time
from bus.topics import KUBERNETES_AUDIT
from processor.audit.events import BadAuditEvent, event_of, parse
from processor.audit.sessions import Sessions
from schemas.text.notes import OnNote

SINCE_SECONDS = 60
"""How old the events are with which reading begins: their commands may still start in batches that wait."""
_POLL_SECONDS = 0.2
_RETRY_SECONDS = 10.0
_OF_COMMANDS = b"/exec?"
"""In the URI of each request for a command."""


class SessionsFollower:
    """Reads the topic on a thread."""

    def __init__(self, connection: Connection, sessions: Sessions, *, on_note: OnNote) -> None:
        """Begin; nothing is connected.

        Args:
            connection: the broker.
            sessions: receives requests for commands.
            on_note: receives messages for an operator.
        """
        self._connection = connection
        self._sessions = sessions
        self._on_note = on_note
        self._stopped = threading.Event()

    def start(self) -> None:
        """Start."""
        threading.Thread(target=self._follow, name="sessions", daemon=True).start()

    def finish(self) -> None:
        """Stop."""
        self._stopped.set()

    def _follow(self) -> None:
        reported = ""
        while not self._stopped.is_set():
            try:
                self._read()
            except BusUnavailable as error:
                if str(error) != reported:
                    reported = str(error)
                    self._on_note(f"requests for commands in pods are not read: {error}. It is tried again.", "warning")
                self._stopped.wait(_RETRY_SECONDS)

    def _read(self) -> None:
        since = (time.time_ns() - SINCE_SECONDS * 10**9) // 1_000_000
        reader = TopicReader(self._connection, self._connection.topic(KUBERNETES_AUDIT), since_ms=since)
        try:
            while not self._stopped.is_set():
                message = reader.poll(_POLL_SECONDS)
                if message is not None:
                    take(self._sessions, message.value() or b"", message.timestamp()[1])
        finally:
            reader.close()


def take(sessions: Sessions, value: bytes, appended: int) -> None:
    """Take a message of the topic; what can't be read is a dead letter of the processor that evaluates it.

    Args:
        sessions: receives requests for commands.
        value: the message.
        appended: when the broker appended it, ms.
    """
    if _OF_COMMANDS not in value:
        return
    try:
        sessions.offer(event_of(parse(value), 0, append_time(appended)))
    except BadAuditEvent:
        return
