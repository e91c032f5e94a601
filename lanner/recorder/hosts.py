"""Finds the hosts of a fleet in the retained events without reading all of them.

A live collector sends something every 15 s, so 20 s of the topic contain every host alive at that time. In a large
topic, samples at a few past times find the silent hosts, and bisection finds when each was last seen.
"""

from collections.abc import Callable, Collection, Mapping
from contextlib import closing
from typing import Any

from bus.clients.history import Bounds, TopicHistory
from bus.connection import Connection
from bus.messages import correction, partition_of
from bus.topics import EVENTS
from lanner.recorder.host_tally import LOSSES_MS, FleetHost, HostTally
from lanner.recorder.topic import reader_of_values
from schemas.encoding.batch import BadBatch, decode_head

_LOOK_MS = 20_000
_FEW = 20_000
"""Up to this many messages are read in full."""
_AGES_MS = tuple(60_000 * minutes for minutes in (2, 5, 10, 20, 40, 80, 160, 320, 640, 1280, 2560, 5120, 10240))
"""Ages of the samples of the past: each about twice the previous one."""


def find_hosts(
    connection: Connection, now: int, stop: Callable[[], bool], show: Callable[[str], None]
) -> list[FleetHost]:
    """Find the hosts of a fleet. now: ms since the epoch. Raises BusUnavailable.

    stop is called between polls, and ends the search; show receives the progress.
    """
    found: dict[bytes, FleetHost] = {}
    with closing(_Looks(connection, stop)) as look:
        nearer = now - LOSSES_MS
        newest = nearer if look.messages(nearer, None) <= _FEW else now - _LOOK_MS
        found |= look.between(newest, None)
        if newest > nearer:
            found |= look.between(nearer, newest, known=found)
        for age in _AGES_MS:
            if stop() or look.is_before_all(nearer):
                break
            show(f"searching: {age // 60_000} min ago")
            farther = now - age
            if look.messages(farther, nearer) <= _FEW:
                found |= look.between(farther, nearer, known=found)
            else:
                earlier = look.between(farther - _LOOK_MS, farther, known=found)
                found |= look.last(earlier, nearer)
            nearer = farther
    return list(found.values())


def live_hosts(connection: Connection, now: int, stop: Callable[[], bool]) -> list[FleetHost]:
    """Find the hosts that are alive now, in the newest 20 s of the topic; arguments and errors as find_hosts."""
    with closing(_Looks(connection, stop)) as look:
        return list(look.between(now - _LOOK_MS, None).values())


class _Looks:
    """Reads short time ranges of the events."""

    def __init__(self, connection: Connection, stop: Callable[[], bool]) -> None:
        self._past = TopicHistory(connection, connection.topic(EVENTS))
        self._value = reader_of_values(connection)
        self._stop = stop
        self._offsets: dict[int, dict[int, int]] = {}
        """The first offset of each partition since a time, by time."""

    def close(self) -> None:
        self._past.close()

    def is_before_all(self, time: int) -> bool:
        """Return whether the topic retains nothing older than a time."""
        return all(offset <= self._past.available[number][0] for number, offset in self._since(time).items())

    def messages(self, since: int, until: int | None) -> int:
        """Return the number of messages appended in a time range."""
        return sum(end - start for start, end in self._bounds(since, until).values())

    def between(
        self,
        since: int,
        until: int | None,
        partitions: list[int] | None = None,
        *,
        known: Collection[bytes] = (),
        wanted: Collection[bytes] | None = None,
    ) -> dict[bytes, FleetHost]:
        """Return the hosts seen in a time range, by key: those in `wanted`, or all that aren't in `known`."""
        found: dict[bytes, HostTally] = {}
        bounds = self._bounds(since, until) if partitions is None else self._past.between(since, until, partitions)
        for message in self._past.read(bounds, self._stop):
            key = message.key() or b""
            if key in known or not (wanted is None or key in wanted):
                continue
            try:
                head = decode_head(self._value(message))
            except BadBatch:
                # The processor dead-letters it.
                continue
            tally = found.get(key) or found.setdefault(key, HostTally())
            appended = message.timestamp()[1]
            headers: Any = message.headers() or ()
            tally.see(head, appended, correction(headers, appended * 1_000_000))
        return {key: tally.host() for key, tally in found.items()}

    def _bounds(self, since: int, until: int | None) -> Bounds:
        ends = {} if until is None else self._since(until)
        available = self._past.available
        return {number: (start, ends.get(number, available[number][1])) for number, start in self._since(since).items()}

    def _since(self, time: int) -> dict[int, int]:
        if time not in self._offsets:
            self._offsets[time] = self._past.since(time)
        return self._offsets[time]

    def last(self, hosts: Mapping[bytes, FleetHost], silent_at: int) -> dict[bytes, FleetHost]:
        """Find the newest batches of hosts, given one batch of each and a later time at which all were silent.

        Hosts are searched for together as long as they could have fallen silent at the same time: a whole fleet that
        did takes no more reads than one host.
        """
        found = dict(hosts)
        groups = [(hosts, min((host.seen for host in hosts.values()), default=0), silent_at)]
        while groups and not self._stop():
            group, since, until = groups.pop()
            partitions = sorted({partition_of(key, len(self._past.available)) for key in group})
            is_near = until - since <= _LOOK_MS
            start = since if is_near else (since + until) // 2
            end = (until if is_near else start) + _LOOK_MS
            later = self.between(start, end, partitions, wanted=group)
            found |= later
            if not is_near:
                earlier = {key: host for key, host in group.items() if key not in later}
                groups += [each for each in ((earlier, since, start), (later, start, until)) if each[0]]
        return found
