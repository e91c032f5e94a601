"""Logging of the services to standard error, as text or as one JSON object per line.

The Kafka client's log goes the same way, and Faust's by way of the processor's worker. Other libraries are silenced,
because some log URLs, which may contain secrets.
"""

import json
import logging
import sys
from collections.abc import Callable
from datetime import UTC, datetime

from bus.connection import CLIENT_LOG
from foundation.text import printable_lines
from lanner.terminal.output import LOGGER, SYSLOG, coloured, journal_prefix

_MAX_TEXT = 4000
_ANSI = {"debug": "32", "info": "32", "warning": "33", "error": "31", "critical": "31"}
_DIM, _BOLD, _BLUE, _PLAIN = "\x1b[2m", "\x1b[1m", "\x1b[1;34m", "\x1b[0m"

_Layout = Callable[[logging.LogRecord, str, str], str]
"""Returns a log entry from its record, the level's name and the text."""


def log_to_stderr(level_name: str, form: str | None, stage: str) -> None:
    """Send Lanner's messages and the Kafka client's log to standard error from now on.

    form is `json` for one JSON object per line, which names the stage; else text.
    """
    level = logging.getLevelNamesMapping()[level_name.upper()]
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Formatter(_layout(form, stage)))
    # Without a handler, Python prints warnings of other libraries.
    logging.root.addHandler(logging.NullHandler())
    for logger, least in (
        (logging.getLogger(LOGGER), level),
        # Verbose and meant for its developers; what an operator needs is reported through callbacks.
        (logging.getLogger(CLIENT_LOG), level if level == logging.DEBUG else logging.CRITICAL),
    ):
        logger.handlers[:] = [handler]
        logger.propagate = False
        logger.setLevel(least)


class _Formatter(logging.Formatter):
    """Escapes control characters, so that hostile text can't change the terminal, and limits the length."""

    def __init__(self, layout: _Layout) -> None:
        super().__init__()
        self._layout = layout

    def format(self, record: logging.LogRecord) -> str:
        """Return one entry, without a traceback."""
        return self._layout(record, record.levelname.lower(), printable_lines(record.getMessage())[:_MAX_TEXT])


def _layout(form: str | None, stage: str) -> _Layout:
    if form == "json":
        return lambda record, level, text: json.dumps(
            {"event": text, "level": level, "logger": record.name, "timestamp": _timestamp(record), "stage": stage}
        )
    if journal_prefix(6):
        return _journal_lines
    return _coloured_line if coloured(sys.stderr) else _plain_line


def _timestamp(record: logging.LogRecord) -> str:
    return datetime.fromtimestamp(record.created, UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def _journal_lines(record: logging.LogRecord, level: str, text: str) -> str:
    name = "" if record.name == LOGGER else f"{record.name}: "
    prefix = journal_prefix(SYSLOG.get(level, 6))
    return "\n".join(f"{prefix}{name}{line}" for line in text.split("\n"))


def _plain_line(record: logging.LogRecord, level: str, text: str) -> str:
    return f"{_timestamp(record)} [{level}] {text} [{record.name}]"


def _coloured_line(record: logging.LogRecord, level: str, text: str) -> str:
    shown = f"\x1b[1;{_ANSI.get(level, '32')}m{level}{_PLAIN}"
    name = f"{_BLUE}{record.name}{_PLAIN}"
    return f"{_DIM}{_timestamp(record)}{_PLAIN} [{shown}] {_BOLD}{text}{_PLAIN} [{name}]"
