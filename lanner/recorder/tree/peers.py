"""Finds the other ends of the connections of an alert's processes, on the same host and on others.

A connection joins two processes if each has the addresses and ports of the other; translated addresses aren't found.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass

from lanner.recorder.context import HostContext, OnBatch, TimelineRange, Write, by_number, read_context
from lanner.recorder.store import EARLIER_MS, EventRange, EventStore, Reading, StoredBatch
from lanner.recorder.tree.activity import Activity, SocketPair, plain, socket_of
from lanner.recorder.tree.family import Family
from lanner.recorder.tree.relatives import Identity, Relatives, family_of_event
from schemas.batch import EventBatch

MAX_PEERS = 4
MAX_SOCKETS = 200
_AROUND_MS = 5_000
"""How far apart the events of the two ends may be."""
_LATE_MS = 60_000
"""How late batches may arrive."""
_MS = 1_000_000
_ALONE = 30_000_000_000
"""Time shown before and after a join that is not within the alert's own time range, ns."""


@dataclass(frozen=True, slots=True)
class Join:
    """A process that is the other end of a connection."""

    socket: SocketPair
    """As the alert's host sees it."""
    process: int
    """The process of the alert's family that has it, by its index there; -1 for one of the leading ancestors."""
    host_id: str
    hostname: str
    time: int
    """ns since the epoch, of the event that shows the other end."""
    number: str
    """evt.num of that event."""
    family: tuple[Identity, ...]
    """The process at the other end, and the one whose descendants are shown."""


@dataclass(frozen=True, slots=True)
class JoinedContext:
    """The events of the host at the other end of a connection."""

    join: Join
    context: HostContext[Activity]


@dataclass(frozen=True, slots=True)
class HostReading:
    """How to read the events of a host."""

    source: EventStore
    write: Write[Activity]
    limit: int
    stop: Callable[[], bool]
    on_batch: OnBatch = lambda _: None


def joined_contexts(found: Family, host_id: str, window: TimelineRange, reading: HostReading) -> list[JoinedContext]:
    """Return what happened at the other ends of the connections of a family. window: the time range shown of it.

    Raises BadInput if the recording can't be read, and BusUnavailable if the topic can't.
    """
    open_ends = open_sockets(found)
    joins: dict[tuple[str, int, str], Join] = {}
    for span in _spans(time for _, time in open_ends.values()):
        batches = reading.source.batches(span, reading.stop)
        for join in find_joins(_watched(batches, reading), host_id, open_ends):
            joins.setdefault((join.host_id, join.time, join.number), join)
            if len(joins) >= MAX_PEERS:
                break
    return [JoinedContext(join, _read(join, window, reading)) for join in joins.values() if not reading.stop()]


def open_sockets(found: Family) -> dict[SocketPair, tuple[int, int]]:
    """Return the connections of a family whose other end is not in it, with process and time."""
    all_ends: dict[SocketPair, tuple[int, int]] = {}
    for index, process in enumerate(found.processes):
        for socket, time in process.sockets:
            all_ends.setdefault(socket, (index, time))
    for actor in found.leading:
        if actor.ssh is not None and actor.start is not None:
            all_ends.setdefault(actor.ssh, (-1, actor.start))
    one_sided = {socket: end for socket, end in all_ends.items() if socket.mirrored not in all_ends}
    return dict(list(one_sided.items())[:MAX_SOCKETS])


def find_joins(
    batches: Iterable[StoredBatch], host_id: str, ends: Mapping[SocketPair, tuple[int, int]]
) -> Iterator[Join]:  # fmt: skip
    """Yield the first event, in batches of any hosts, of each other end of a host's connections.

    ends: the connections, with process and time.
    """
    wanted = {socket.mirrored: socket for socket in ends}
    for stored in batches:
        batch = stored.batch
        for index in _connected(batch, wanted):
            mirrored = socket_of(batch, index)
            socket = None if mirrored is None else wanted.get(mirrored)
            time = batch.columns["time"][index]
            if socket is None or (socket.is_loopback and batch.host_id != host_id):
                continue
            process, seen = ends[socket]
            if abs(time - seen) <= _AROUND_MS * _MS:
                del wanted[socket.mirrored]
                number = str(batch.first_number + index)
                others = family_of_event(batch, index)
                yield Join(socket, process, batch.host_id, batch.hostname, time, number, others)


def _connected(batch: EventBatch, wanted: Mapping[SocketPair, SocketPair]) -> Sequence[int]:
    """Return the events that may be about a connection; most batches have none of the addresses."""
    addresses = {plain(text) for text in batch.strings if text and text[-1].isalnum() and ("." in text or ":" in text)}
    if not any(each.local in addresses and each.remote in addresses for each in wanted):
        return ()
    return [index for index, port in enumerate(batch.columns["remote_port"]) if port > 0]


def _spans(times: Iterable[int]) -> Iterator[EventRange]:
    """Yield the time ranges to search, joined where they overlap."""
    start = end = -1
    for time in sorted(time // _MS for time in times):
        if start >= 0 and time - _AROUND_MS <= end:
            end = time + _AROUND_MS
            continue
        if start >= 0:
            yield EventRange(start, end + _LATE_MS, about=start)
        start, end = time - _AROUND_MS, time + _AROUND_MS
    if start >= 0:
        yield EventRange(start, end + _LATE_MS, about=start)


def _watched(batches: Reading[StoredBatch], reading: HostReading) -> Iterator[StoredBatch]:
    with closing(batches):
        for stored in batches:
            reading.on_batch(stored)
            if reading.stop():
                return
            yield stored


def _read(join: Join, window: TimelineRange, reading: HostReading) -> HostContext[Activity]:
    start, end = window.start, window.end
    if not start <= join.time <= end:
        start, end = join.time - _ALONE, join.time + _ALONE
    span = EventRange(start // _MS - EARLIER_MS, host=join.host_id, about=join.time // _MS)
    batches = reading.source.batches(span, reading.stop)
    around = TimelineRange(start, join.time, end)
    trigger = by_number(join.time, join.number)
    return read_context(
        batches, around, trigger, reading.write, reading.limit, stop=reading.stop, on_batch=reading.on_batch,
        rows=Relatives(join.family).rows,
    )  # fmt: skip
