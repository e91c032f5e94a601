"""Prints alerts of a topic on standard output, each once."""

from typing import Any, TextIO

from bus.connection import Connection
from lanner.cli.terminal.output import note
from lanner.recorder.topic.messages import reader_of_values
from notifier.formats.text import Line
from schemas.alert import Alert, BadAlert, decode_alert
from schemas.caching.bounded import BoundedSet

_REMEMBERED_IDS = 100_000


class PrintedAlerts:
    """Prints alerts; skips those printed before and messages that aren't alerts."""

    def __init__(self, line: Line, connection: Connection, stream: TextIO) -> None:
        """Take what renders an alert, the connection whose topic is read, and the output stream."""
        self.count = 0
        """Alerts printed."""
        self._line = line
        self._value = reader_of_values(connection)
        self._stream = stream
        self._printed: BoundedSet[str] = BoundedSet(_REMEMBERED_IDS)

    def decoded(self, message: Any) -> Alert | None:
        """Decode a message. Return None and report it on standard error if it is not an alert."""
        try:
            return decode_alert(self._value(message))
        except BadAlert as error:
            note(f"{message.topic()}[{message.partition()}] at {message.offset()}: {error}.")
            return None

    def show(self, alert: Alert) -> None:
        """Print an alert."""
        if not self._printed.add(alert.id):
            return
        self.count += 1
        self._stream.write(self._line(alert) + "\n")
        self._stream.flush()
