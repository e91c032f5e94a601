"""Terminal output: messages, color and the status line."""

import os
import sys
import time
from typing import TextIO

from foundation.text import Level, printable_lines
from schemas.catalog.priorities import by_priority

_ANSI = by_priority("1;37;41", "1;37;41", "1;31", "31", "33", "36", "34", "2")
LOGGER = "lanner"
"""Name of the logger that has a handler in services (lanner.terminal.logs); other commands print plain lines."""
SYSLOG = {"debug": 7, "info": 6, "warning": 4, "error": 3, "critical": 2}
"""Severities of the log levels. Source: RFC 5424."""
STATUS_INTERVAL = 0.5
"""Seconds between two updates of the status line."""


def coloured(stream: TextIO) -> bool:
    """Return whether to use color on a stream. Source: https://no-color.org."""
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def paint(text: str, priority: str) -> str:
    """Color a text by priority."""
    return f"\x1b[{_ANSI[priority]}m{text}\x1b[0m" if priority in _ANSI else text


def note(text: str, level: Level = "info", /) -> None:
    """Print a message on standard error, escaped and joined into one message; in a service, log it."""
    # A service has imported it; it takes 0.6 MiB.
    logging = sys.modules.get("logging")
    if logging is not None and (logger := logging.getLogger(LOGGER)).handlers:
        logger.log(logging.getLevelNamesMapping()[level.upper()], "%s", text)
        return
    prefix, mark = journal_prefix(SYSLOG[level]), ""
    if level != "info":
        mark = f"\x1b[1;31m{level}:\x1b[0m " if level == "error" and coloured(sys.stderr) else f"{level}: "
    sys.stderr.write("".join(f"{prefix}{line}\n" for line in f"{mark}{printable_lines(text)}".split("\n")))
    sys.stderr.flush()


def error_line(text: str) -> None:
    """Print an error on standard error, escaped and joined into one message; in a service, log it."""
    note(text, "error")


def journal_prefix(level: int) -> str:
    """Return the level prefix for systemd if standard error is the journal, else "". Source: sd-daemon(3)."""
    journal = os.environ.get("JOURNAL_STREAM")
    if not journal:
        return ""
    status = os.fstat(2)
    return f"<{level}>" if journal == f"{status.st_dev}:{status.st_ino}" else ""


class StatusLine:
    """A line on a terminal that is redrawn in place."""

    def __init__(self, stream: TextIO, *, enabled: bool = True) -> None:
        self.stream = stream
        self.on = enabled and stream.isatty() and os.environ.get("TERM") != "dumb"
        self.drawn_at = 0.0
        self.shown = False

    def show(self, text: str) -> None:
        """Draw the line, unless it was drawn within `STATUS_INTERVAL`."""
        if not self.on or time.monotonic() - self.drawn_at < STATUS_INTERVAL:
            return
        self.drawn_at = time.monotonic()
        self.shown = True
        self.stream.write(f"\r\x1b[K{text}")
        self.stream.flush()

    def clear(self) -> None:
        """Erase the line before something else is printed."""
        if self.shown:
            self.shown = False
            self.stream.write("\r\x1b[K")
            self.stream.flush()

    def close(self) -> None:
        """Erase the line and draw it no more."""
        self.clear()
        self.on = False
