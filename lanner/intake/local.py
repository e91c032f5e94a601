"""Evaluates the rules on audit events of a file in this process: `lanner run` needs no broker for them.

Alerts are delivered before the place in the file is stored: a crash in between repeats alerts, which have the same ids.
"""

import time
from collections.abc import Callable, Iterable
from pathlib import Path

from foundation.text import OnNote
from lanner.intake.log_file import LogFollower, PlaceFile
from processor.fields.json.documents import Document, read_events
from processor.fields.json.parsing import BadJsonEvent
from schemas.alert import Alert


class LocalAuditLog:
    """One file, read as it is written."""

    def __init__(self, follower: LogFollower, evaluate: Callable[[Document], Iterable[Alert]], on_note: OnNote) -> None:
        """Begin; nothing is opened.

        Args:
            follower: reads the file.
            evaluate: evaluates the rules on an event and returns the alerts.
            on_note: receives messages for an operator.
        """
        self.events = 0
        """Events evaluated."""
        self.refused = 0
        """Lines that could not be read, or with an event that could not be read."""
        self.truncated = 0
        """Events of those evaluated of which parts are missing."""
        self._follower = follower
        self._evaluate_event = evaluate
        self._on_note = on_note
        self._reported = ""

    def poll(self, deliver: Callable[[Alert], None]) -> int:
        """Evaluate what was written since the last call, up to a megabyte; return the number of events.

        Args:
            deliver: called with each alert.
        """
        before = self.events
        try:
            if (lines := self._follower.next()) is None:
                return 0
            for line in lines.lines:
                self._evaluate(line, deliver)
            self._follower.commit(lines)
        except OSError as error:
            self._report(f"{error.filename or 'audit log'}: {error.strerror or error}. It is tried again.")
        return self.events - before

    def close(self) -> None:
        """Close the file."""
        self._follower.close()

    def _evaluate(self, line: bytes, deliver: Callable[[Alert], None]) -> None:
        try:
            for event in read_events(line, self.events, time.time_ns()):
                self.events += 1
                self.truncated += bool(event.truncated)
                for alert in self._evaluate_event(event):
                    deliver(alert)
        except BadJsonEvent as error:
            self.refused += 1
            self._report(f"a line of the audit log is not evaluated: {error}.")

    def _report(self, problem: str) -> None:
        if problem != self._reported:
            self._reported = problem
            self._on_note(problem, "warning")


def log_follower(file: str, state_dir: str, on_note: OnNote) -> LogFollower:
    """Return what follows a log, and stores its place in a folder; nothing is opened."""
    path = Path(file)
    return LogFollower(path, PlaceFile(Path(state_dir), path), on_note)
