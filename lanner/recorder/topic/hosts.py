"""Finds the hosts of a fleet in the retained events without reading all of them.

A live collector sends something every 15 s, so 20 s of the topic contain every host alive at that time. In a large
topic, samples at a few past times find the silent hosts, and bisection finds when each was last seen.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from bus.clients.history import TopicHistory
from bus.connection import Connection
from bus.messages.partitions import partition_of
from bus.topics import EVENTS
from lanner.recorder.batches import StoredBatch, from_message
from lanner.recorder.topic.messages import reader_of_values
from schemas.batch import events_lost
from schemas.codec import BadBatch

_LOOK_MS = 20_000
_NEWEST_MS = 60_000
_FEW = 20_000
"""Up to this many messages are read in full."""
_MINUTES = (2, 5, 10, 20, 40, 80, 160, 320, 640, 1280, 2560, 5120, 10240)
"""Ages of the samples of the past, minutes: each about twice the previous one."""


@dataclass(frozen=True, slots=True)
class FleetHost:
    """A host, from its newest batch."""

    id: str
    name: str
    seen: int
    """Append time of its newest batch, ms."""
    version: str
    kernel: str
    rules: str
    lag: int
    """From the creation of its newest batch to the broker, ms: large if it waited on disk."""
    lost: int
    """Events lost, as reported in the last minute in which it was seen."""
    is_stopped: bool
    """Whether its collector reported that it stopped."""


def find_hosts(
    connection: Connection, now: int, stop: Callable[[], bool], show: Callable[[str], None]
) -> list[FleetHost]:
    """Find the hosts of a fleet.

    Args:
        connection: the broker.
        now: milliseconds since the epoch.
        stop: called between polls; True stops the search.
        show: called with the progress.

    Raises:
        BusUnavailable: No broker, or no such topic.
    """
    past = TopicHistory(connection, connection.topic(EVENTS))
    look = _Looks(past, reader_of_values(connection), stop)
    found: dict[bytes, FleetHost] = {}
    try:
        nearer = now - _NEWEST_MS
        found |= look.between(nearer, None, counts_losses=True)
        for minutes in _MINUTES:
            if stop() or look.is_before_all(nearer):
                break
            show(f"searching: {minutes} min ago")
            farther = now - minutes * 60_000
            if look.messages(farther, nearer) <= _FEW:
                earlier = look.between(farther, nearer)
            else:
                earlier = look.between(farther - _LOOK_MS, farther)
                earlier = {key: look.last(key, host, nearer) for key, host in earlier.items() if key not in found}
            found = earlier | found
            nearer = farther
    finally:
        past.close()
    return list(found.values())


class _Looks:
    """Reads short time ranges of one topic."""

    def __init__(self, past: TopicHistory, value: Callable[[Any], bytes], stop: Callable[[], bool]) -> None:
        self._past = past
        self._value = value
        self._stop = stop

    def is_before_all(self, time: int) -> bool:
        """Return whether the topic retains nothing older than a time."""
        return all(offset <= self._past.available[number][0] for number, offset in self._past.since(time).items())

    def messages(self, since: int, until: int) -> int:
        """Return the number of messages appended in a time range."""
        return sum(end - start for start, end in self._past.between(since, until).values())

    def between(
        self, since: int, until: int | None, partitions: list[int] | None = None, *, counts_losses: bool = False
    ) -> dict[bytes, FleetHost]:
        """Return the hosts seen in a time range, by key; counting losses over the whole range takes more work."""
        newest: dict[bytes, Any] = {}
        lost: dict[bytes, int] = {}
        for message in self._past.read(self._past.between(since, until, partitions), self._stop):
            key = message.key() or b""
            newest[key] = message
            if counts_losses and (stored := self._read(message)) is not None:
                lost[key] = lost.get(key, 0) + _lost(stored)
        found = {}
        for key, message in newest.items():
            if (stored := self._read(message)) is not None:
                found[key] = _host(stored, lost.get(key, _lost(stored)))
        return found

    def last(self, key: bytes, host: FleetHost, silent_at: int) -> FleetHost:
        """Find a host's newest batch, given one of its batches and a later time at which it was silent."""
        partitions = [partition_of(key, len(self._past.available))]
        while silent_at - host.seen > _LOOK_MS and not self._stop():
            middle = (host.seen + silent_at) // 2
            found = self.between(middle, middle + _LOOK_MS, partitions).get(key)
            if found is None:
                silent_at = middle
            else:
                host = found
        return self.between(host.seen, silent_at + _LOOK_MS, partitions).get(key, host)

    def _read(self, message: Any) -> StoredBatch | None:
        try:
            return from_message(message, self._value(message))
        except BadBatch:
            # The processor dead-letters it.
            return None


def _lost(stored: StoredBatch) -> int:
    return events_lost(stored.batch.lost)


def _host(stored: StoredBatch, lost: int) -> FleetHost:
    batch = stored.batch
    return FleetHost(
        id=batch.host_id,
        name=batch.hostname,
        seen=stored.appended,
        version=batch.collector_version,
        kernel=batch.kernel,
        rules=batch.interest_version or batch.rules_version,
        lag=max(stored.appended - batch.created // 1_000_000, 0),
        lost=lost,
        is_stopped=batch.stopping,
    )
