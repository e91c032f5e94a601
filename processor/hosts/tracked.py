"""The hosts that a processor tracks: new host ids never push out an established host.

Host ids are a sender's word until they are verified, and one sender can make up any number. So hosts are of two kinds.
A newcomer has been heard of for less than a minute; there is room for some of them, and one that is silent for longest
goes first. An established host was heard of over at least a minute; it stays until it has been silent for an hour and
its place is needed. An id that is sent once is never established, so it can push out nothing but other newcomers.

Pure: times are the broker's.
"""

from collections import Counter, OrderedDict
from dataclasses import dataclass
from typing import Generic, NamedTuple, Protocol, TypeVar

from schemas.batch import EventBatch

EVERYTHING = "*"
"""In place of a version: nothing is dropped."""
LIVE_SECONDS = 45.0
"""Three heartbeats, s: a host that is silent for longer is not waited for."""


class OfPartition(Protocol):
    """What is known of one host."""

    @property
    def partition(self) -> int:
        """The partition of the events topic that its batches are in."""


Known = TypeVar("Known", bound=OfPartition)


class PartitionHosts(Generic[Known]):
    """The hosts of the partitions that this process owns. How many there are is for the caller to bound."""

    def __init__(self) -> None:
        self._hosts: dict[str, Known] = {}

    def drop(self, host_id: str) -> None:
        """Forget a host."""
        self._hosts.pop(host_id, None)

    def forget(self, partitions: frozenset[int]) -> None:
        """Forget the hosts of partitions that another process takes over: their batches are not seen here."""
        for host_id in [name for name, host in self._hosts.items() if host.partition in partitions]:
            del self._hosts[host_id]


class _Report(NamedTuple):
    partition: int
    hostname: str
    version: str
    """Versions joined by +."""
    seen: float
    """Monotonic clock, s."""


class HostReports(PartitionHosts[_Report]):
    """The newest report of each host in the partitions that this process owns."""

    def see(self, partition: int, batch: EventBatch, now: float) -> None:
        """Record a batch. now: a monotonic clock, s."""
        self._hosts[batch.host_id] = _Report(partition, batch.hostname, batch.interest_version, now)

    def name(self, host_id: str) -> str:
        """Return the last name that a host reported; its id if it reported none."""
        found = self._hosts.get(host_id)
        return host_id if found is None else found.hostname

    def lagging(self, version: str, now: float) -> list[str]:
        """Return the live hosts that do not apply a version's filter yet."""
        return sorted(
            each.hostname
            for each in self._hosts.values()
            if now - each.seen < LIVE_SECONDS and not {version, EVERYTHING} & set(each.version.split("+"))
        )

    def counts(self, now: float) -> Counter[str]:
        """Count the live hosts by the versions that they report."""
        return Counter(each.version for each in self._hosts.values() if now - each.seen < LIVE_SECONDS)


MOST_ESTABLISHED = 80_000
MOST_NEW = 20_000
ESTABLISHED_AFTER_MS = 60_000
"""Time from the first to the newest batch after which a host is established."""
REPLACED_AFTER_MS = 3_600_000
"""A host that was silent for this long is evicted if there is no room; its silence was reported long before."""


@dataclass(slots=True)
class _Host:
    partition: int
    first: int
    """When its first batch was appended, ms."""
    newest: int


class TrackedHosts:
    """The hosts of the partitions that this process owns."""

    def __init__(self, most_established: int = MOST_ESTABLISHED, most_new: int = MOST_NEW) -> None:
        """Start with none.

        Args:
            most_established: how many hosts are tracked permanently.
            most_new: how many newcomers besides.
        """
        self._most_established = most_established
        self._most_new = most_new
        # Longest silent first.
        self._established: OrderedDict[str, _Host] = OrderedDict()
        self._new: OrderedDict[str, _Host] = OrderedDict()
        self._gone: list[str] = []

    def __len__(self) -> int:
        return len(self._established) + len(self._new)

    def see(self, partition: int, host_id: str, appended: int, *, is_verified: bool = False) -> bool:
        """Record a batch.

        Args:
            partition: of the events topic.
            host_id: as the batch says.
            appended: when it was appended, ms.
            is_verified: its host has proved that it is this one, so it counts as established at once.

        Returns:
            Whether the host is established.
        """
        host = self._established.get(host_id)
        if host is not None:
            host.partition, host.newest = partition, max(host.newest, appended)
            self._established.move_to_end(host_id)
            return True
        host = self._new.pop(host_id, None) or _Host(partition, appended, appended)
        host.partition, host.newest = partition, max(host.newest, appended)
        is_old = host.newest - host.first >= ESTABLISHED_AFTER_MS
        if (is_verified or is_old) and self._has_room(appended):
            self._established[host_id] = host
            return True
        self._new[host_id] = host
        if len(self._new) > self._most_new:
            self._gone.append(self._new.popitem(last=False)[0])
        return False

    def recall(self, partition: int, host_id: str, appended: int) -> None:
        """Record a batch that was evaluated before this process took over the partition. appended: ms.

        How long its host had been heard of then isn't known: who comes first is established, as far as there is room.
        """
        self.see(partition, host_id, appended, is_verified=True)

    def take_gone(self) -> list[str]:
        """Return the hosts dropped since the last call."""
        gone, self._gone = self._gone, []
        return gone

    def forget(self, partitions: frozenset[int]) -> list[str]:
        """Forget the hosts of partitions that another process takes over, and return them."""
        found = []
        for hosts in (self._established, self._new):
            gone = [host_id for host_id, host in hosts.items() if host.partition in partitions]
            for host_id in gone:
                del hosts[host_id]
            found += gone
        return found

    def _has_room(self, now: int) -> bool:
        if len(self._established) < self._most_established:
            return True
        host_id, host = next(iter(self._established.items()))
        if now - host.newest < REPLACED_AFTER_MS:
            return False
        del self._established[host_id]
        self._gone.append(host_id)
        return True
