"""Prints alerts of a topic on standard output, each once."""

from typing import Any, TextIO

from bus.connection import Connection
from lanner.cli.terminal.output import coloured, note, paint
from lanner.recorder.topic.messages import reader_of_values
from notifier.formats.text import LineStyle, line_of
from schemas.alert import Alert, BadAlert, decode_alert
from schemas.caching.bounded import BoundedSet

_REMEMBERED_IDS = 100_000


class PrintedAlerts:
    """Prints alerts; skips those printed before and messages that aren't alerts."""

    def __init__(self, style: LineStyle, connection: Connection, stream: TextIO) -> None:
        """Take the output format, the connection whose topic is read, and the output stream."""
        self.count = 0
        """Alerts printed."""
        self._line = line_of(style)
        self._value = reader_of_values(connection)
        self._stream = stream
        self._colour = coloured(stream) and not style.json_output
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
        text = self._line(alert)
        self._stream.write((paint(text, alert.priority) if self._colour else text) + "\n")
        self._stream.flush()
