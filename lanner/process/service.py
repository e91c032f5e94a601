"""Notifications to systemd for services of Type=notify: ready, watchdog, stopping.

Source: sd_notify(3). Each is a datagram to the socket that $NOTIFY_SOCKET names, so no library is needed.
"""

import os
import socket
import time


def notify(state: str) -> None:
    """Send a state, such as READY=1; do nothing without a notify socket."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if address[:1] not in ("/", "@"):
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK) as sender:
        try:
            # A leading @ means the NUL byte of an abstract socket address.
            sender.connect("\0" + address[1:] if address[0] == "@" else address)
            sender.send(state.encode())
        except OSError:
            # A missing or slow supervisor must not stop detection; it notices a missed watchdog by itself.
            return


class Watchdog:
    """Notifies systemd that the main loop is alive, twice per WatchdogSec=."""

    def __init__(self) -> None:
        interval = os.environ.get("WATCHDOG_USEC", "")
        mine = os.environ.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
        self._interval = int(interval) / 2e6 if interval.isdigit() and mine else 0.0
        self._next = 0.0

    def beat(self) -> None:
        """Notify systemd if it is due."""
        if self._interval and time.monotonic() >= self._next:
            self._next = time.monotonic() + self._interval
            notify("WATCHDOG=1")
