"""Notifications to systemd for services of Type=notify: ready, watchdog, stopping.

Source: sd_notify(3). Each is a datagram to the socket that $NOTIFY_SOCKET names, so no library is needed.
"""

import os
import socket
import time
from collections.abc import Iterable
from pathlib import Path

Stamp = tuple[int, int, int]


class FileWatch:
    """Compares modification time, size and inode, which detects an editor's rename and a Kubernetes symlink swap."""

    def __init__(self, paths: Iterable[Path]) -> None:
        self._paths = tuple(paths)
        self._stamps = self._look()

    def changed(self) -> tuple[Path, ...]:
        """Return the files that changed since the last call."""
        before, self._stamps = self._stamps, self._look()
        return tuple(path for path in self._paths if self._stamps[path] != before[path])

    def _look(self) -> dict[Path, Stamp | None]:
        return {path: _stamp(path) for path in self._paths}


def _stamp(path: Path) -> Stamp | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size, status.st_ino


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
