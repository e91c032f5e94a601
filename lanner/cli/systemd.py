"""What a service of Type=notify tells systemd: that it is ready, that it is alive, that it ends.

Source: sd_notify(3). A datagram to the socket that $NOTIFY_SOCKET names; no library is needed for that.
"""

import os
import socket
import time


def notify(state: str) -> None:
    """Send one state, such as READY=1; where nobody asked for it, nothing is done."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if address[:1] not in ("/", "@"):
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK) as sender:
        try:
            # A leading @ stands for the NUL of an abstract address.
            sender.connect("\0" + address[1:] if address[0] == "@" else address)
            sender.send(state.encode())
        except OSError:
            # A supervisor that is gone or slow must not end detection; a missed watchdog speaks for itself.
            return


class Watchdog:
    """Says that the main loop still turns, often enough for WatchdogSec= and no oftener."""

    def __init__(self) -> None:
        wanted = os.environ.get("WATCHDOG_USEC", "")
        mine = os.environ.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
        self._interval = int(wanted) / 2e6 if wanted.isdigit() and mine else 0.0
        self._next = 0.0

    def beat(self) -> None:
        """Tell systemd, if it is time to."""
        if self._interval and time.monotonic() >= self._next:
            self._next = time.monotonic() + self._interval
            notify("WATCHDOG=1")
