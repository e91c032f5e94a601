"""A sink that sends alerts to the local syslog daemon."""

import os
import socket
import time
from collections.abc import Callable, Sequence
from datetime import datetime

from notifier.delivery.outcome import Delivered, RetryLater, RoutedAlert, SendOutcome
from schemas.alert import Alert
from schemas.catalogue.priorities import SEVERITY

LOCAL0 = 16
MAX_BYTES = 8192
"""Maximum length of a datagram: rsyslog's default maxMessageSize. Longer lines are cut at the end."""
RETRY_SECONDS = 1.0


class SyslogSink:
    """Sends one datagram for each alert, as /dev/log takes it on any Linux: `<PRI>Mmm dd hh:mm:ss TAG[PID]: TEXT`.

    Source: RFC 3164; severities follow the priority's name, as in Falco.
    """

    batch_size = 1

    def __init__(self, path: str, line_of: Callable[[Alert], str], *, facility: int = LOCAL0) -> None:
        """Create a sink; the daemon's socket may appear later, and the daemon may restart.

        Args:
            path: of the daemon's socket.
            line_of: renders an alert.
            facility: syslog facility number.
        """
        self._path = path
        self._line_of = line_of
        self._facility = facility
        self._socket: socket.socket | None = None
        self._retry_at = 0.0

    def send(self, alerts: Sequence[RoutedAlert]) -> SendOutcome:
        """Send the first alert; reconnect and send again if the daemon has restarted."""
        datagram = self._datagram(alerts[0].rendered)
        reason = self._try(datagram)
        if reason and self._socket is None and time.monotonic() >= self._retry_at:
            reason = self._try(datagram)
        return RetryLater(f"{self._path}: {reason}") if reason else Delivered()

    def idle(self) -> None:
        """Do nothing."""

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
        number = self._facility * 8 + SEVERITY[alert.priority]
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
