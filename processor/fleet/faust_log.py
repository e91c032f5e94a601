"""Formats the log of Faust and its Kafka client as one line per entry, without tracebacks."""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass

from schemas.caching.bounded import BoundedMap
from schemas.text.notes import Level, OnNote

REPEAT_SECONDS = 60.0
_MOST_CHARACTERS = 500
_MOST_KINDS = 1000
_HINTS = {
    "SaslAuthenticationFailed": "check kafka.username, kafka.password_file and kafka.sasl_mechanism",
    "CERTIFICATE_VERIFY_FAILED": "check kafka.ca_file and kafka.bootstrap_servers",
    "AuthorizationFailed": "grant this user its rights: `lanner topics acls`",
}


@dataclass(slots=True)
class _Kind:
    """Lines that differ in their values only."""

    logged_at: float
    left_out: int = 0


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
        self._kinds: BoundedMap[tuple[str, str], _Kind] = BoundedMap(_MOST_KINDS)

    def emit(self, record: logging.LogRecord) -> None:
        """Log a line, or count it."""
        key = (record.name, str(record.msg))
        now = self._clock()
        kind = self._kinds.get(key)
        if kind is not None and now - kind.logged_at < REPEAT_SECONDS:
            kind.left_out += 1
            return
        self._kinds.put(key, _Kind(now))
        text = record.getMessage().strip().replace("\n", " ")
        if record.exc_info and record.exc_info[1] is not None:
            error = record.exc_info[1]
            text = f"{text}: {type(error).__name__}: {error}"
        hint = next((f": {hint}" for sign, hint in _HINTS.items() if sign in text), "")
        more = f" ({kind.left_out} more like it since the last)" if kind is not None and kind.left_out else ""
        level: Level = "error" if record.levelno >= logging.ERROR else "info"
        self._on_note(f"{record.name}: {text[:_MOST_CHARACTERS]}{hint}{more}", level)
