"""What each host says it sends: by which versions of the rules its kernel leaves events out.

Pure: the clock is given. How many hosts are remembered is for the caller to bound.
"""

from collections import Counter
from typing import Protocol

EVERYTHING = "*"
"""As a version: nothing is left out."""
LIVE_SECONDS = 45.0
"""Three heartbeats: whoever was silent for longer is not waited for."""


class ReportingBatch(Protocol):
    """What of a batch is looked at."""

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
        """Take note of a batch. now: a clock that only grows, seconds."""
        self._hosts[batch.host_id] = (partition, batch.hostname, batch.interest_version, now)

    def drop(self, host_id: str) -> None:
        """Forget a host."""
        self._hosts.pop(host_id, None)

    def name(self, host_id: str) -> str:
        """Return the name that a host gave itself last; its id, where it gave none."""
        found = self._hosts.get(host_id)
        return host_id if found is None else found[1]

    def forget(self, partitions: frozenset[int]) -> None:
        """Forget the hosts of partitions that go to another process."""
        for host_id in [name for name, seen in self._hosts.items() if seen[0] in partitions]:
            del self._hosts[host_id]

    def lagging(self, version: str, now: float) -> list[str]:
        """Name the live hosts that do not send what a version asks for."""
        return sorted(
            name
            for _, name, reported, seen in self._hosts.values()
            if now - seen < LIVE_SECONDS and not {version, EVERYTHING} & set(reported.split("+"))
        )

    def counts(self, now: float) -> Counter[str]:
        """Count the live hosts by what they report."""
        return Counter(reported for _, _, reported, seen in self._hosts.values() if now - seen < LIVE_SECONDS)
