"""A sink that sends alerts to the local syslog daemon."""

import os
import socket
import time
from collections.abc import Callable
from datetime import datetime

from notifier.formats.severity import SEVERITY
from notifier.local.sink import LocalStats
from schemas.alert import Alert

LOCAL0 = 16
MAX_BYTES = 8192
"""What a line may have: rsyslog's default maxMessageSize; the facts that matter stand in front."""
RETRY_SECONDS = 1.0


class SyslogSink:
    """One datagram an alert, in the form that /dev/log takes on every Linux: `<PRI>Mmm dd hh:mm:ss TAG[PID]: TEXT`.

    Source: RFC 3164; severities by the priority's name, as Falco's are.
    """

    def __init__(
        self,
        path: str,
        line_of: Callable[[Alert], str],
        *,
        on_trouble: Callable[[str], None],
        facility: int = LOCAL0,
    ) -> None:
        """Connect to the daemon's socket if it is there; it may come later, and may be restarted.

        on_trouble is told once when delivery begins to fail, and once when it works again.
        """
        self.name = "syslog"
        self.tally = LocalStats()
        self._path = path
        self._line_of = line_of
        self._on_trouble = on_trouble
        self._facility = facility
        self._socket: socket.socket | None = None
        self._retry_at = 0.0
        self._in_trouble = False

    def send(self, alert: Alert) -> None:
        """Send one alert; if the daemon was restarted, connect anew and send it then."""
        datagram = self._datagram(alert)
        why = self._try(datagram)
        if why and self._socket is None and time.monotonic() >= self._retry_at:
            why = self._try(datagram)
        if why:
            self.tally.failed += 1
            if not self._in_trouble:
                self._in_trouble = True
                self._on_trouble(f"{self._path}: {why}; alerts for it are counted as lost until it works again.")
            return
        self.tally.sent += 1
        if self._in_trouble:
            self._in_trouble = False
            self._on_trouble(f"{self._path}: takes alerts again; {self.tally.failed} so far were lost.")

    def reopen(self) -> None:
        """Connect anew."""
        self.close()
        self._retry_at = 0.0

    def close(self) -> None:
        """Let go of the socket."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _try(self, datagram: bytes) -> str | None:
        """Send; give None, or why it didn't go. A dead connection is closed, to be made anew."""
        try:
            if self._socket is None:
                if time.monotonic() < self._retry_at:
                    return "no syslog daemon listens there"
                self._socket = _connected(self._path)
            self._socket.send(datagram)
        except (BlockingIOError, TimeoutError):
            return "the syslog daemon takes nothing more"
        except OSError as error:
            had_one = self._socket is not None
            self.close()
            # The daemon may have been restarted: then a new connection works at once.
            self._retry_at = 0.0 if had_one else time.monotonic() + RETRY_SECONDS
            return error.strerror or "can't be reached"
        return None

    def _datagram(self, alert: Alert) -> bytes:
        number = self._facility * 8 + SEVERITY[alert.priority]
        # RFC 3164 wants the day padded by a blank, and English months whatever the locale.
        now = datetime.now().astimezone()
        month = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"][now.month - 1]
        header = f"<{number}>{month} {now.day:2d} {now:%H:%M:%S} lanner[{os.getpid()}]: "
        whole = (header + self._line_of(alert)).encode("utf-8", "backslashreplace")
        if len(whole) <= MAX_BYTES:
            return whole
        return whole[: MAX_BYTES - 3].decode("utf-8", "ignore").encode() + b"..."


def _connected(path: str) -> socket.socket:
    """Connect without ever waiting: a daemon that hangs must not stop detection. Raises OSError."""
    made = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
    try:
        made.connect(path)
    except OSError:
        made.close()
        raise
    return made
