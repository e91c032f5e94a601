"""Formats the log of Faust and its Kafka client as one line per entry, without tracebacks."""

import logging
import time
from collections import Counter
from collections.abc import Callable

from schemas.text.notes import Level, OnNote

AGAIN_SECONDS = 60.0
_MOST_CHARACTERS = 500
_MOST_KINDS = 1000
_HINTS = {
    "SaslAuthenticationFailed": "check kafka.username, kafka.password_file and kafka.sasl_mechanism",
    "CERTIFICATE_VERIFY_FAILED": "check kafka.ca_file and kafka.bootstrap_servers",
    "AuthorizationFailed": "grant this user its rights: `lanner topics acls`",
}


class FaustLog(logging.Handler):
    """Logs each kind of line once a minute: a client that cannot reach its broker retries several times a second."""

    def __init__(self, on_note: OnNote, level: int, clock: Callable[[], float] = time.monotonic) -> None:
        """Begin.

        Args:
            on_note: receives each line.
            level: the minimum level of logging.
            clock: seconds.
        """
        super().__init__(level)
        self._on_note = on_note
        self._clock = clock
        self._told_at: dict[tuple[str, str], float] = {}
        self._untold: Counter[tuple[str, str]] = Counter()

    def emit(self, record: logging.LogRecord) -> None:
        """Log a line, or count it."""
        kind = (record.name, str(record.msg))
        now = self._clock()
        if now - self._told_at.get(kind, -AGAIN_SECONDS) < AGAIN_SECONDS:
            self._untold[kind] += 1
            return
        if len(self._told_at) >= _MOST_KINDS:
            self._told_at.clear()
            self._untold.clear()
        self._told_at[kind] = now
        text = record.getMessage().strip().replace("\n", " ")
        if record.exc_info and record.exc_info[1] is not None:
            error = record.exc_info[1]
            text = f"{text}: {type(error).__name__}: {error}"
        hint = next((f": {hint}" for sign, hint in _HINTS.items() if sign in text), "")
        again = self._untold.pop(kind, 0)
        more = f" ({again} more like it since the last)" if again else ""
        level: Level = "error" if record.levelno >= logging.ERROR else "info"
        self._on_note(f"{record.name}: {text[:_MOST_CHARACTERS]}{hint}{more}", level)
