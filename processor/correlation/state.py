"""All state of a correlator: windows, counts of repeats, and known values; moved, restored and encoded together."""

import struct
import zlib
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

from foundation.caches import NEWCOMERS
from processor.correlation.first_seen import Sightings, ValueKey
from processor.correlation.first_seen_group import sighting_of
from processor.correlation.groups import (
    OTHERS,
    BadState,
    GroupState,
    Key,
    SeenEntry,
    State,
    Store,
    decode_entry,
    decode_record,
    encode_entry,
    entry_key,
)
from processor.correlation.suppress import Tally, Throttle
from processor.correlation.windows import EventCount, LegEvent, Ordered, Temporal, ValueCount
from processor.matching.pre_match import EventKey, Feed, Notice, PreMatch, SeenGroup, SeenValue, StateCommand, notice_of
from processor.output.internal_alerts import EVENTS_LOST, GROUPS_EVICTED, VALUES_UNSTORED, Cause

_MARK = b"LANNERM\x01"
_HEAD = struct.Struct("<8sI")
_COUNTS = struct.Struct("<qI")
_LENGTH = struct.Struct("<I")


def write_snapshot(now: int, blobs: list[bytes]) -> bytes:
    """Join encoded entries. now: the clock of ticks, ns."""
    body = _COUNTS.pack(now, len(blobs)) + b"".join(_LENGTH.pack(len(blob)) + blob for blob in blobs)
    return _HEAD.pack(_MARK, zlib.crc32(body)) + body


def read_snapshot(data: bytes) -> tuple[int, list[bytes]]:
    """Return the clock and the states. Raises BadState if the bytes are none, of another version, or not whole."""
    if len(data) < _HEAD.size + _COUNTS.size:
        raise BadState("too short for window state")
    mark, checksum = _HEAD.unpack_from(data)
    body = memoryview(data)[_HEAD.size :]
    if mark != _MARK:
        raise BadState("not window state, or of another version")
    if zlib.crc32(body) != checksum:
        raise BadState("the window state is damaged")
    now, count = _COUNTS.unpack_from(body)
    offset = _COUNTS.size
    blobs = []
    for _ in range(count):
        (length,) = _LENGTH.unpack_from(body, offset)
        offset += _LENGTH.size
        blobs.append(bytes(body[offset : offset + length]))
        offset += length
    return now, blobs


Retime = Callable[[int], int]
"""Event time to event time, ns; it never reverses an order."""


def retimed(state: State, retime: Retime) -> State:
    """Return a state with other times and the same contents."""

    def stamped(stamp: EventKey) -> EventKey:
        return (retime(stamp[0]), *stamp[1:])

    def seen(event: LegEvent) -> LegEvent:
        return replace(event, stamp=stamped(event.stamp))

    # Different times may have become equal, which changes the order of their keys.
    if isinstance(state, EventCount):
        return replace(state, stamps=tuple(sorted(map(stamped, state.stamps))), first=retime(state.first))
    if isinstance(state, ValueCount):
        return ValueCount(tuple(sorted((stamped(stamp), value) for stamp, value in state.values)))
    if isinstance(state, Temporal):
        return Temporal(tuple(leg and seen(leg) for leg in state.legs))
    if isinstance(state, Ordered):
        newest = tuple(stamp and stamped(stamp) for stamp in state.newest)
        return Ordered(newest, tuple(tuple(map(seen, chain)) for chain in state.chains))
    if isinstance(state, Tally):
        return replace(state, time=retime(state.time))
    return replace(state, first=retime(state.first), last=retime(state.last))


def latest_time(state: State) -> int:
    """Return the latest event time in a state, ns; 0 if it has none."""
    if isinstance(state, EventCount):
        return state.stamps[-1][0] if state.stamps else 0
    if isinstance(state, ValueCount):
        return state.values[-1][0][0] if state.values else 0
    if isinstance(state, Temporal):
        return max((leg.time for leg in state.legs if leg is not None), default=0)
    if isinstance(state, Ordered):
        # A chain ends with an event that was its leg's newest at that time.
        return max((stamp[0] for stamp in state.newest if stamp is not None), default=0)
    if isinstance(state, Tally):
        return state.time
    return max(state.first, state.last)


Unstored: TypeAlias = tuple[str, str, str]
"""The id of a host, its name, and the macro with the container or user that brought a value."""


class WindowState:
    """Windows, counts of repeats, and the values that first_seen knows."""

    def __init__(self, store: Store, sightings: Sightings) -> None:
        """Take two empty stores."""
        self.store = store
        self.sightings = sightings
        self.unstored: Counter[Unstored] = Counter()
        """Unreported values of first_seen for which there was no room."""

    def take_evicted(self) -> Counter[str]:
        """Return the groups evicted since the last call, by host."""
        return self.store.take_evicted() + self.sightings.take_evicted()

    def take_unstored(self) -> "Counter[Unstored]":
        """Return the values since the last call for which there was no room."""
        found, self.unstored = self.unstored, Counter()
        return found

    @property
    def evicted(self) -> int:
        """The number of evicted groups."""
        return self.store.evicted.total() + self.sightings.evicted_total

    def set_cause(self, cause: int) -> None:
        """Note the message that is being applied beside each change."""
        self.store.cause = self.sightings.cause = cause

    def shift(self, step: int) -> None:
        """Move all times. step: ns; negative to move them back."""
        self._retime(lambda time: time + step)

    def repair(self, limit: int, now: int) -> int:
        """Set times later than a limit to the present; return the number of groups repaired. limit, now: ns."""

        def present(time: int) -> int:
            return min(time, now)

        wrong = [entry for entry in self.store if max(entry.touched, latest_time(entry.state)) > limit]
        for entry in wrong:
            self.store.put(replace(entry, touched=present(entry.touched), state=retimed(entry.state, present)))
        return len(wrong) + self.sightings.retime(lambda time: now if time > limit else time)

    def restore(self, data: bytes) -> int:
        """Replace windows and counts of repeats by a snapshot; return its clock.

        Raises BadState if the bytes are not a snapshot of this version; nothing is changed.
        """
        written, blobs = read_snapshot(data)
        entries = [decode_entry(blob) for blob in blobs]
        for held in list(self.store):
            self.store.remove((held.owner, held.group))
        for entry in entries:
            self.store.put(entry)
        return written

    def load(self, blob: bytes) -> None:
        """Load one record of a table, even if its macro is unknown: rules that know it may follow.

        It does not set the clock: call `repair` once a message has. Raises BadState.
        """
        entry = decode_record(blob)
        if isinstance(entry, SeenEntry):
            self.sightings.load(entry.owner, entry.group, entry.host, entry.state)
        else:
            self.store.put(entry)
        self.forget_changes()

    @property
    def needs_time(self) -> bool:
        """True if the passage of time can change anything, or changes are not written yet."""
        return bool(len(self.store) or self.sightings.groups or self.store.has_changes or self.sightings.has_changes)

    def drop(self, key: Key | ValueKey) -> None:
        """Drop an entry that cannot be written; the caller deletes it from the table."""
        if len(key) == 2:
            self.store.drop(key)
        else:
            self.sightings.drop(key)

    def obey(self, command: StateCommand, about: PreMatch, now: int) -> None:
        """Learn or forget, for the group of the message that contains the command. now: the present, ns."""
        owner, group = command.owner, about.group
        if command.action == "begin":
            self.sightings.learned_since(owner, group, about.time)
        elif command.action == "learn":
            self.sightings.learn(sighting_of(about, owner, Feed("", command.value), now), now)
        elif command.value is not None:
            self.sightings.drop((owner, group, command.value))
        else:
            for each in list(self.store):
                if each.owner == owner and (command.is_everywhere or each.group == group):
                    self.store.remove((owner, each.group))
            for known in self.sightings.all_groups():
                if known[0] == owner and (command.is_everywhere or known[1] == group):
                    self.sightings.drop((*known, None))

    def forget_changes(self) -> None:
        """Treat all state as written."""
        self.store.take_changes()
        self.sightings.take_changes()

    def forget_unknown(self, known: Collection[str]) -> None:
        """Drop the state of unknown macros. known: the fingerprints of macros."""
        for entry in list(self.store):
            # Sums contain all that their alert needs, with or without the rule.
            if not isinstance(entry.state, (Throttle, Tally)) and entry.owner not in known:
                self.store.remove((entry.owner, entry.group))
        for owner, group in self.sightings.all_groups():
            if owner not in known:
                self.sightings.drop((owner, group, None))

    def _retime(self, retime: Callable[[int], int]) -> None:
        for entry in list(self.store):
            self.store.put(replace(entry, touched=retime(entry.touched), state=retimed(entry.state, retime)))
        self.sightings.retime(retime)


_LONGEST_FAULT = 300
_Change = tuple[Key | ValueKey, GroupState | SeenEntry | None, int]


@dataclass(frozen=True, slots=True)
class StateChange:
    """One change to write to the state table."""

    key: Key | ValueKey
    record: bytes
    """Its key in the table."""
    blob: bytes | None
    """The new state; None to delete it."""
    cause: int
    """The message that changed it last, as set in the store."""
    fault: str = ""
    """Why the state could not be encoded; empty if it could."""


def everything(state: WindowState) -> dict[bytes, bytes]:
    """Return all state as keys and values of a table."""
    found = {entry.key: _encoded(entry)[0] for entry in state.store}
    for (owner, group, value), host, record in state.sightings.records():
        found[entry_key(owner, group, value)] = _encoded(SeenEntry(owner, group, host, record))[0]
    return {key: blob for key, blob in found.items() if blob is not None}


def take_changes(state: WindowState, macros: Sequence[str]) -> list[StateChange]:
    """Return the changes to write to a table since the last call; entries that can't be encoded are deleted there.

    If only the first of them are written, another process takes over with these and gets the messages again. A window
    that contains an event does not fire for it again, so the state that depends on it is written first: counts of
    repeats, then windows of macros that refer to others, then those others. Counts that have ended are removed last.
    macros: the fingerprints of stateful macros, each after those that it refers to.
    """
    ranks = {fingerprint: rank for rank, fingerprint in enumerate(reversed(macros), start=1)}
    last = len(ranks) + 1

    def rank(change: _Change) -> tuple[int, bool]:
        key, entry, _ = change
        # A group's record without its values would make them new.
        is_head = len(key) > 2 and key[-1] is None
        return ranks.get(key[0], last if entry is None else 0), is_head

    changes = []
    changed: list[_Change] = [*state.store.take_changes(), *_seen_changes(state.sightings)]
    for key, entry, cause in sorted(changed, key=rank):
        blob, fault = (None, "") if entry is None else _encoded(entry)
        if fault:
            state.drop(key)
        changes.append(StateChange(key, entry_key(*key), blob, cause, fault))
    state.forget_changes()
    return changes


def _seen_changes(sightings: Sightings) -> Iterator[tuple[ValueKey, SeenEntry | None, int]]:
    for key, host, record, cause in sightings.take_changes():
        yield key, None if record is None else SeenEntry(*key[:2], host, record), cause


def seen_records(state: WindowState, *, changed: bool) -> list[bytes]:
    """Return the records of known values for a file, in which the last one of a value counts.

    changed: return only the changes since the last call, with records that mark forgotten values as such.
    """
    if not changed:
        entries = [SeenEntry(*key[:2], host, record) for key, host, record in state.sightings.records()]
    else:
        entries = [
            entry or SeenEntry(*key[:2], "", SeenValue(key[2], 0) if key[2] is not None else SeenGroup(0))
            for key, entry, _ in _seen_changes(state.sightings)
        ]
    return [blob for entry in entries if (blob := _encoded(entry)[0]) is not None]


class SnapshotEncoder:
    """Encodes snapshots; entries that have not changed since the last one are not encoded again."""

    def __init__(self) -> None:
        """Begin with nothing encoded."""
        self._encoded: dict[int, tuple[GroupState, bytes]] = {}
        """By id(); the entry is stored beside its bytes so that its id is not reused."""

    def encode(self, store: Store, now: int) -> bytes:
        """Encode all state. now: the clock, ns since the epoch."""
        before = self._encoded
        self._encoded = {}
        for entry in list(store):
            known = before.get(id(entry))
            blob = _encoded(entry)[0] if known is None else known[1]
            if blob is not None:
                self._encoded[id(entry)] = (entry, blob)
            else:
                store.drop((entry.owner, entry.group))
        return write_snapshot(now, [blob for _, blob in self._encoded.values()])


def _encoded(entry: GroupState | SeenEntry) -> tuple[bytes | None, str]:
    """Return an entry's blob; or None, and the reason."""
    try:
        return encode_entry(entry), ""
    except Exception as problem:  # noqa: BLE001  the state of one group must not cost that of others
        return None, f"{type(problem).__name__}: {problem}"[:_LONGEST_FAULT]


def room_notices(
    state: WindowState, now: int, position: tuple[str, int, int], *, hostname: str = ""
) -> Iterator[PreMatch]:
    """Yield notices about state that was evicted or not stored since the last call, for lack of room.

    There is one for each account whose groups were evicted, and one for each host with too many values of first_seen.

    Args:
        state: windows and values.
        now: the clock, ns since the epoch.
        position: identifies the eviction in place of a batch: a text and two numbers, the last of which only grows.
        hostname: of the host, if all accounts belong to one.
    """
    for host, number in state.take_evicted().items():
        whose = {NEWCOMERS: "hosts that are new to the fleet", OTHERS: "other hosts"}.get(host, f"host id {host}")
        text = f"too many windows and counts of repeats: the oldest of {whose} were evicted"
        cause = Cause(host, hostname, now, position)
        yield notice_of(cause, Notice(EVENTS_LOST, "Warning", {GROUPS_EVICTED: number}, text), appended=now)
    if unstored := state.take_unstored():
        by_host: dict[str, tuple[str, Counter[str]]] = {}
        for (host, name, whose), number in unstored.items():
            by_host.setdefault(host, (name, Counter()))[1][whose] += number
        most = state.sightings.group_maximum
        text = f"groups of first_seen store {most:,} values each: further ones of those named are not reported"
        for host, (name, numbers) in by_host.items():
            notice = Notice(VALUES_UNSTORED, "Warning", numbers, text)
            yield notice_of(Cause(host, name, now, position), notice, appended=now)
