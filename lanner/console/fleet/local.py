"""This host, from the batches of this process."""

import time
from collections.abc import Callable
from threading import Lock

from lanner.console.fleet.ports import KnownHosts
from lanner.recorder.topic.host_tally import HostTally
from schemas.batch import EventBatch
from schemas.batch_head import head_of


class LocalHost:
    """Takes batches on the thread that detects, and is asked on others."""

    def __init__(self) -> None:
        self._tally = HostTally()
        self._has_any = False
        self._lock = Lock()

    def see(self, batch: EventBatch) -> None:
        """Record a batch."""
        with self._lock:
            self._has_any = True
            self._tally.see(head_of(batch), time.time_ns() // 1_000_000)

    def start(self, on_change: Callable[[], None]) -> None:
        """Do nothing: pages ask often enough."""

    def hosts(self) -> KnownHosts:
        """Return this host, once it has made a batch."""
        with self._lock:
            now = time.time_ns() // 1_000_000
            return KnownHosts([self._tally.host()], now) if self._has_any else KnownHosts()

    def stop(self) -> None:
        """Do nothing."""
