"""Prints stored alerts on standard output, each once."""

from typing import TextIO

from notifier.formats.text import Line
from schemas.alert import Alert
from schemas.caching.bounded import BoundedSet

_REMEMBERED_IDS = 100_000


class PrintedAlerts:
    """Prints alerts; skips those printed before."""

    def __init__(self, line: Line, stream: TextIO) -> None:
        """Take what renders an alert, and the output stream."""
        self.count = 0
        """Alerts printed."""
        self._line = line
        self._stream = stream
        self._printed: BoundedSet[str] = BoundedSet(_REMEMBERED_IDS)

    def show(self, alert: Alert) -> None:
        """Print an alert."""
        if not self._printed.add(alert.id):
            return
        self.count += 1
        self._stream.write(self._line(alert) + "\n")
        self._stream.flush()
