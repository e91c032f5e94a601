"""The pushdown filters that each host reports: the versions of the rules by which its kernel drops events.

Pure: the clock is given. How many hosts are remembered is for the caller to bound.
"""

from collections import Counter
from typing import Protocol

EVERYTHING = "*"
"""In place of a version: nothing is dropped."""
LIVE_SECONDS = 45.0
"""Three heartbeats, s: a host that is silent for longer is not waited for."""


class ReportingBatch(Protocol):
    """The attributes of a batch that are used."""

    @property
    def host_id(self) -> str:
        """The host."""

    @property
    def hostname(self) -> str:
        """Its name."""

    @property
    def interest_version(self) -> str:
        """Versions joined by +."""


class HostReports:
    """The newest report of each host in the partitions that this process owns."""

    def __init__(self) -> None:
        self._hosts: dict[str, tuple[int, str, str, float]] = {}

    def see(self, partition: int, batch: ReportingBatch, now: float) -> None:
        """Record a batch. now: a monotonic clock, s."""
        self._hosts[batch.host_id] = (partition, batch.hostname, batch.interest_version, now)

    def drop(self, host_id: str) -> None:
        """Forget a host."""
        self._hosts.pop(host_id, None)

    def name(self, host_id: str) -> str:
        """Return the last name that a host reported; its id if it reported none."""
        found = self._hosts.get(host_id)
        return host_id if found is None else found[1]

    def forget(self, partitions: frozenset[int]) -> None:
        """Forget the hosts of partitions that another process takes over."""
        for host_id in [name for name, seen in self._hosts.items() if seen[0] in partitions]:
            del self._hosts[host_id]

    def lagging(self, version: str, now: float) -> list[str]:
        """Return the live hosts that do not apply a version's filter yet."""
        return sorted(
            name
            for _, name, reported, seen in self._hosts.values()
            if now - seen < LIVE_SECONDS and not {version, EVERYTHING} & set(reported.split("+"))
        )

    def counts(self, now: float) -> Counter[str]:
        """Count the live hosts by the versions that they report."""
        return Counter(reported for _, _, reported, seen in self._hosts.values() if now - seen < LIVE_SECONDS)
