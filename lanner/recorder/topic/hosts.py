"""The hosts of a fleet, found in the retained events without reading all of them.

A live collector sends something every 15 s, so a look at any 20 s finds every host that was alive then. Where there is
much, looks at a few moments of the past find the silent ones, and halving the time between two looks finds when each
was last heard of.
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
from schemas.codec import BadBatch

_LOOK_MS = 20_000
_NEWEST_MS = 60_000
_FEW = 20_000
"""Messages that are simply read."""
_MINUTES = (2, 5, 10, 20, 40, 80, 160, 320, 640, 1280, 2560, 5120, 10240)
"""How long ago each look at the past is: each twice as long as the one before."""


@dataclass(frozen=True, slots=True)
class FleetHost:
    """What a host's newest batch says."""

    id: str
    name: str
    seen: int
    """When its newest batch was appended, ms."""
    version: str
    kernel: str
    rules: str
    lag: int
    """From the making of its newest batch to the broker, ms: more than a moment where it waited on disk."""
    lost: int
    """Events that it told as lost in the last minute that it was heard of."""
    is_stopped: bool
    """Whether its collector said that it ends."""


def find_hosts(
    connection: Connection, now: int, stop: Callable[[], bool], show: Callable[[str], None]
) -> list[FleetHost]:
    """Find the hosts of a fleet.

    Args:
        connection: the broker.
        now: ms since the epoch.
        stop: asked between polls; ends the search.
        show: told of how far it has got.

    Raises:
        BusUnavailable: no broker, or no such topic.
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
            show(f"looking: {minutes} min ago")
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
    """Looks at short times of one topic."""

    def __init__(self, past: TopicHistory, value: Callable[[Any], bytes], stop: Callable[[], bool]) -> None:
        self._past = past
        self._value = value
        self._stop = stop

    def is_before_all(self, time: int) -> bool:
        """Tell whether nothing older than a time is kept."""
        return all(offset <= self._past.available[number][0] for number, offset in self._past.since(time).items())

    def messages(self, since: int, until: int) -> int:
        """Count what was appended in a time."""
        return sum(end - start for start, end in self._past.between(since, until).values())

    def between(
        self, since: int, until: int | None, partitions: list[int] | None = None, *, counts_losses: bool = False
    ) -> dict[bytes, FleetHost]:
        """Give the hosts that were heard of in a time, by key; losses of the whole time take more work."""
        newest: dict[bytes, Any] = {}
        lost: dict[bytes, int] = {}
        for message in self._past.read(self._past.between(since, until, partitions), self._stop):
            key = message.key() or b""
            newest[key] = message
            if counts_losses and (kept := self._read(message)) is not None:
                lost[key] = lost.get(key, 0) + _lost(kept)
        found = {}
        for key, message in newest.items():
            if (kept := self._read(message)) is not None:
                found[key] = _host(kept, lost.get(key, _lost(kept)))
        return found

    def last(self, key: bytes, host: FleetHost, silent_at: int) -> FleetHost:
        """Find a host's newest batch, given one and a time at which it was silent."""
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
            # It is among the dead letters.
            return None


def _lost(kept: StoredBatch) -> int:
    return sum(number for number in kept.batch.lost.values() if number > 0)


def _host(kept: StoredBatch, lost: int) -> FleetHost:
    batch = kept.batch
    return FleetHost(
        id=batch.host_id,
        name=batch.hostname,
        seen=kept.appended,
        version=batch.collector_version,
        kernel=batch.kernel,
        rules=batch.interest_version or batch.rules_version,
        lag=max(kept.appended - batch.created // 1_000_000, 0),
        lost=lost,
        is_stopped=batch.stopping,
    )
