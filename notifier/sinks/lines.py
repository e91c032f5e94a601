"""Sinks of lines: a file for log collectors, standard output, and the local syslog daemon."""

import os
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import TextIO

from foundation.files import PRIVATE
from foundation.text import OnNote
from notifier.sink import Delivered, RetryLater, RoutedAlert, SendOutcome, Sink
from schemas.alert import Alert
from schemas.catalog.priorities import SEVERITY


class FileSink(Sink):
    """Appends one line for each alert, and can rotate the file by size."""

    def __init__(
        self,
        path: Path,
        line_of: Callable[[Alert], str],
        *,
        report: OnNote,
        rotate_bytes: int | None = None,
        keep: int = 5,
    ) -> None:
        """Open the file; create it and its folder if missing.

        Args:
            path: of the file.
            line_of: renders an alert.
            report: called when the file can't be rotated or reopened.
            rotate_bytes: start a new file before a line would make this one larger; None for never.
            keep: number of older files, as PATH.1, PATH.2 ...; the newest is PATH.1.

        Raises:
            OSError: it can't be opened. A wrong path must fail at start, not with the first alert.
        """
        self._path = path
        self._line_of = line_of
        self._report = report
        self._rotate_bytes = rotate_bytes
        self._keep = keep
        self._rotation_failed = False
        self._is_torn = False
        self._descriptor = self._open()

    def send(self, alerts: Sequence[RoutedAlert]) -> SendOutcome:
        """Append the first alert."""
        line = self._line_of(alerts[0].rendered).encode("utf-8", "backslashreplace") + b"\n"
        try:
            if self._descriptor < 0:
                self._descriptor = self._open()
            if self._rotate_bytes is not None:
                self._rotate(len(line), self._rotate_bytes)
            # One write per line: with O_APPEND, lines of two writers never mix. A line that a full disk cut short is
            # ended first, so that the next one is whole.
            written = os.write(self._descriptor, b"\n" + line if self._is_torn else line)
        except OSError as error:
            return RetryLater(f"{self._path}: {error.strerror or 'it cannot be written'}")
        expected = len(line) + self._is_torn
        self._is_torn = 0 < written < expected
        return RetryLater(f"{self._path}: the disk is full") if self._is_torn else Delivered()

    def reopen(self) -> None:
        """Open the path again, after log rotation."""
        self.close()
        try:
            self._descriptor = self._open()
        except OSError as error:
            self._report(f"{self._path}: it can't be opened: {error.strerror}; it is tried again with the next alert.")

    def close(self) -> None:
        """Close the file."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def _open(self) -> int:
        if not self._path.parent.exists():
            self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._report(f"{self._path}: its folder did not exist, and was made: is the name right?", "warning")
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOCTTY
        return os.open(self._path, flags, PRIVATE)  # alerts quote command lines, and command lines contain secrets

    def _rotate(self, size: int, limit: int) -> None:
        """Start a new file if a line would make this one too large; if that fails, keep writing to this one."""
        ours = os.fstat(self._descriptor)
        if not ours.st_size or ours.st_size + size <= limit:
            return
        try:
            # Another writer of the same file may have moved it already.
            if self._path.exists() and os.path.samestat(ours, self._path.stat()):
                for number in range(self._keep - 1, 0, -1):
                    older = self._older(number)
                    if older.exists():
                        older.replace(self._older(number + 1))
                self._path.replace(self._older(1))
            fresh = self._open()
        except OSError as error:
            if not self._rotation_failed:
                self._rotation_failed = True
                self._report(f"{self._path}: can't start a new file: {error.strerror}; the old one keeps growing.")
            return
        os.close(self._descriptor)
        self._descriptor, self._is_torn, self._rotation_failed = fresh, False, False

    def _older(self, number: int) -> Path:
        return self._path.with_name(f"{self._path.name}.{number}")


class StdoutSink(Sink):
    """Prints one line for each alert, and flushes it."""

    def __init__(
        self,
        stream: TextIO,
        line_of: Callable[[Alert], str],
        *,
        levels: bool = False,
        before: Callable[[], None] = lambda: None,
        ends_program: bool = False,
    ) -> None:
        """Print on a stream.

        Args:
            stream: where to print.
            line_of: renders an alert.
            levels: prefix lines with `<4>` and so on, as the journal reads it.
            before: called before each line.
            ends_program: raise BrokenPipeError when the reader of a pipe is gone, instead of retrying.
        """
        self._stream = stream
        self._line_of = line_of
        self._levels = levels
        self._before = before
        self._ends_program = ends_program

    def send(self, alerts: Sequence[RoutedAlert]) -> SendOutcome:
        """Print the first alert."""
        alert = alerts[0].rendered
        level = f"<{SEVERITY[alert.priority]}>" if self._levels else ""
        self._before()
        try:
            self._stream.write(f"{level}{self._line_of(alert)}\n")
            self._stream.flush()
        except BrokenPipeError:
            if self._ends_program:
                raise
            return RetryLater("the reader of standard output is gone")
        return Delivered()


def is_journal(descriptor: int, environment: Mapping[str, str]) -> bool:
    """Return whether a descriptor is the journal's stream itself, not a pipe or file that replaces it.

    Source: systemd.exec(5): $JOURNAL_STREAM has the device and inode of the stream.
    """
    named = environment.get("JOURNAL_STREAM", "")
    try:
        status = os.fstat(descriptor)
    except OSError:
        return False
    return named == f"{status.st_dev}:{status.st_ino}"


LOCAL0 = 16
MAX_BYTES = 8192
"""Maximum length of a datagram: rsyslog's default maxMessageSize. Longer lines are cut at the end."""
RETRY_SECONDS = 1.0


class SyslogSink(Sink):
    """Sends one datagram for each alert, as /dev/log takes it on any Linux: `<PRI>Mmm dd hh:mm:ss TAG[PID]: TEXT`.

    Source: RFC 3164; severities follow the priority's name, as in Falco.
    """

    def __init__(self, path: str, line_of: Callable[[Alert], str]) -> None:
        """Create a sink; the daemon's socket may appear later, and the daemon may restart."""
        self._path = path
        self._line_of = line_of
        self._socket: socket.socket | None = None
        self._retry_at = 0.0

    def send(self, alerts: Sequence[RoutedAlert]) -> SendOutcome:
        """Send the first alert; reconnect and send again if the daemon has restarted."""
        datagram = self._datagram(alerts[0].rendered)
        reason = self._try(datagram)
        if reason and self._socket is None and time.monotonic() >= self._retry_at:
            reason = self._try(datagram)
        return RetryLater(f"{self._path}: {reason}") if reason else Delivered()

    def reopen(self) -> None:
        """Reconnect with the next alert."""
        self.close()
        self._retry_at = 0.0

    def close(self) -> None:
        """Close the socket."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _try(self, datagram: bytes) -> str | None:
        """Send a datagram; return None, or why it failed. Closes a broken connection."""
        try:
            if self._socket is None:
                if time.monotonic() < self._retry_at:
                    return "no syslog daemon listens there"
                self._socket = _connect(self._path)
            self._socket.send(datagram)
        except (BlockingIOError, TimeoutError):
            return "the syslog daemon's queue is full"
        except OSError as error:
            was_connected = self._socket is not None
            self.close()
            # The daemon may have restarted: then a new connection works at once.
            self._retry_at = 0.0 if was_connected else time.monotonic() + RETRY_SECONDS
            return error.strerror or "can't be reached"
        return None

    def _datagram(self, alert: Alert) -> bytes:
        number = LOCAL0 * 8 + SEVERITY[alert.priority]
        # RFC 3164 pads the day with a blank, and uses English months whatever the locale.
        now = datetime.now().astimezone()
        month = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"][now.month - 1]
        header = f"<{number}>{month} {now.day:2d} {now:%H:%M:%S} lanner[{os.getpid()}]: "
        whole = (header + self._line_of(alert)).encode("utf-8", "backslashreplace")
        if len(whole) <= MAX_BYTES:
            return whole
        return whole[: MAX_BYTES - 3].decode("utf-8", "ignore").encode() + b"..."


def _connect(path: str) -> socket.socket:
    """Connect without blocking: a daemon that hangs must not stop detection. Raises OSError."""
    made = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
    try:
        made.connect(path)
    except OSError:
        made.close()
        raise
    return made
