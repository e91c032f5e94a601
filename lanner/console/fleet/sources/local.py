"""This host and its rules, from this process."""

import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from threading import Lock

from lanner.console.fleet.ports import HostsReading, KnownRules
from lanner.console.fleet.sources.facts import RuleFiles
from lanner.recorder.topic.host_tally import HostTally
from lanner.ruleset.load import ActiveRules
from lanner.settings import Settings
from schemas.batch import EventBatch
from schemas.batch_head import head_of


class LocalHost:
    """Takes batches on the thread that detects, and is asked on others."""

    def __init__(self, settings: Settings) -> None:
        """Begin without a batch. settings: with the priority of rules."""
        self._settings = settings
        self._files: RuleFiles | None = None
        self._seconds: Callable[[], Mapping[str, float]] = dict
        self._tally = HostTally()
        self._has_any = False
        self._lock = Lock()

    def see(self, batch: EventBatch) -> None:
        """Record a batch."""
        with self._lock:
            self._has_any = True
            self._tally.see(head_of(batch), time.time_ns() // 1_000_000)

    def attach(self, rules: Callable[[], ActiveRules], seconds: Callable[[], Mapping[str, float]]) -> None:
        """Take what returns the active rules and the seconds that each took."""
        self._files, self._seconds = RuleFiles(self._settings, rules, "The rules of this host."), seconds

    def start(self, on_change: Callable[[], None]) -> None:
        """Do nothing: pages are read again when alerts come."""

    def hosts(self) -> HostsReading:
        """Return this host, once it has made a batch."""
        with self._lock:
            now = time.time_ns() // 1_000_000
            return HostsReading([self._tally.host()], now) if self._has_any else HostsReading()

    def rules(self) -> KnownRules:
        """Return the active rules."""
        if self._files is None:
            return KnownRules(problem="The rules are not active yet.")
        seconds = dict(list(self._seconds().items()))
        return replace(self._files.known(), seconds=seconds, costs="Estimated from samples, since the start.")

    def stop(self) -> None:
        """Do nothing."""
