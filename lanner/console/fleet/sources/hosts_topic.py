"""A fleet's hosts, from the headers of the retained batches.

The topic of events is too large to be followed for this: short parts of it are read, while somebody looks at hosts.
"""

import threading
import time
from collections.abc import Callable, Iterable

from bus.connection import Connection
from bus.errors.unavailable import BusUnavailable
from lanner.console.fleet.ports import HostsReading
from lanner.recorder.topic.host_tally import FleetHost
from lanner.recorder.topic.hosts import find_hosts, live_hosts

MAX_HOSTS = 100_000
LOOK_SECONDS = 20.0
"""Time between two looks, or ten times as long as a look takes."""
REQUESTED_SECONDS = 600.0
"""Hosts are read for so long after somebody looked at them."""
_RETRY_SECONDS = 5.0


class HostsOfTopic:
    """Reads the hosts on a thread of its own."""

    def __init__(self, connection: Connection) -> None:
        """Take the connection; nothing is read before somebody asks."""
        self._connection = connection
        self._known = HostsReading()
        self._hosts: dict[str, FleetHost] = {}
        self._until = 0.0
        self._requested = threading.Event()
        self._end = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self, on_change: Callable[[], None]) -> None:
        """Start the thread."""
        self._thread = threading.Thread(target=self._run, args=(on_change,), name="console-hosts", daemon=True)
        self._thread.start()

    def hosts(self) -> HostsReading:
        """Return the hosts, and see to it that they are read again."""
        self._until = time.monotonic() + REQUESTED_SECONDS
        self._requested.set()
        return self._known

    def stop(self) -> None:
        """Stop the thread."""
        self._end.set()
        self._requested.set()
        if self._thread is not None:
            self._thread.join(timeout=10)

    def _run(self, on_change: Callable[[], None]) -> None:
        while True:
            self._requested.clear()
            if self._end.is_set():
                return
            if time.monotonic() > self._until:
                self._requested.wait()
                continue
            began = time.monotonic()
            try:
                self._look()
            except BusUnavailable as error:
                self._known = HostsReading(self._known.hosts, self._known.read_at, error=error.reason)
            on_change()
            pause = _RETRY_SECONDS if self._known.error else max(LOOK_SECONDS, 10 * (time.monotonic() - began))
            self._end.wait(pause)

    def _look(self) -> None:
        now = time.time_ns() // 1_000_000
        if self._known.read_at:
            self._take(live_hosts(self._connection, now, self._end.is_set))
        else:
            self._take(find_hosts(self._connection, now, self._end.is_set, lambda _: None))
        self._known = HostsReading(list(self._hosts.values()), now)

    def _take(self, found: Iterable[FleetHost]) -> None:
        for host in found:
            before = self._hosts.pop(host.id, None)
            self._hosts[host.id] = host if before is None else host.after(before)
        while len(self._hosts) > MAX_HOSTS:
            # Those that were not seen for the longest time come first.
            del self._hosts[next(iter(self._hosts))]
