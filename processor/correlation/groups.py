"""The state of one group, as plain values and as one blob, and the bounded store of all groups."""

import heapq
import io
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from typing import Any, TypeAlias

import fastavro
from fastavro.schema import parse_schema

from foundation.caches import NEWCOMERS, GroupAccounts
from foundation.errors import LannerError
from processor.correlation.suppress import Sources, Tally, Throttle
from processor.correlation.windows import EventCount, LegEvent, Ordered, Temporal, ValueCount, Window
from processor.matching.pre_match import EventKey, EventOrigin, Group, PreMatch, SeenGroup, SeenValue
from processor.matching.shares import EVERYONE
from processor.matching.wire import group_datum, group_key, group_of, to_bytes, to_text, values_datum, values_of
from schemas.distinct_values import decode_values, encode_values
from schemas.encoding.wire import packaged_schema

State: TypeAlias = Window | Throttle | Tally

VERSION = 1
"""Version of the blob's layout; others are not read."""
_SCHEMA = parse_schema(packaged_schema("correlation_state.avsc"))


class BadState(LannerError, ValueError):
    """The bytes are not a state, or are one of another version."""


@dataclass(frozen=True, slots=True)
class GroupState:
    """The state of one window, of one rule's repeats, or of one kind of notices, for one group."""

    owner: str
    """Fingerprint of the macro or rule, or the kind of notices."""
    group: Group
    host: str
    """The host to which the group counts: the id of the one that made it, or the newcomers."""
    touched: int
    """The time of the last change, by the clock of ticks, ns; for repeats that are still counted, of the first one."""
    state: State

    @property
    def key(self) -> bytes:
        """The entry's key in a table."""
        return entry_key(self.owner, self.group)


def host_counted(pre_match: PreMatch, entry: GroupState | None) -> str:
    """Return the host to which a group counts: the known one that was the first to touch it, or the newcomers."""
    if entry is not None and entry.host != NEWCOMERS:
        return entry.host
    return pre_match.origin.host_id if pre_match.is_established else NEWCOMERS


@dataclass(frozen=True, slots=True)
class SeenEntry:
    """A value of first_seen, or the record of its group."""

    owner: str
    """Fingerprint of the macro."""
    group: Group
    host: str
    """The id of the host toward which the value counts, or the newcomers; empty for a group."""
    state: SeenGroup | SeenValue


def entry_key(owner: str, group: Group, value: str | None = None) -> bytes:
    """Return the key of an entry. value: that of first_seen, if the entry is one."""
    return owner.encode() + b"/" + group_key(group) + (b"" if value is None else b"=" + to_bytes(value))


def encode_entry(entry: GroupState | SeenEntry) -> bytes:
    """Write an entry: the version, then Avro."""
    state = entry.state
    touched = entry.touched if isinstance(entry, GroupState) else 0
    buffer = io.BytesIO()
    buffer.write(bytes((VERSION,)))
    datum = {
        "owner": entry.owner,
        "group": group_datum(entry.group),
        "host": entry.host,
        "touched": touched,
        "state": _named_datum(state),
    }
    fastavro.schemaless_writer(buffer, _SCHEMA, datum)
    return buffer.getvalue()


def decode_entry(data: bytes) -> GroupState:
    """Read an entry of a window, of repeats or of notices. Raises BadState."""
    entry = decode_record(data)
    if isinstance(entry, SeenEntry):
        raise BadState("a known value, not a window")
    return entry


def decode_record(data: bytes) -> GroupState | SeenEntry:
    """Read an entry of any kind. Raises BadState if the bytes are none, or of another version."""
    if data[:1] != bytes((VERSION,)):
        raise BadState(f"not a state of version {VERSION}")
    try:
        row: Any = fastavro.schemaless_reader(io.BytesIO(data[1:]), _SCHEMA, None, return_record_name=True)
        kind, state = row["state"]
        if kind in _SEEN_READERS:
            return SeenEntry(row["owner"], group_of(row["group"]), row["host"], _SEEN_READERS[kind](state))
        return GroupState(row["owner"], group_of(row["group"]), row["host"], row["touched"], _READERS[kind](state))
    except Exception as problem:  # noqa: BLE001  fastavro raises any kind of error
        raise BadState(f"not a valid state: {problem or type(problem).__name__}") from None


def _named_datum(state: State | SeenGroup | SeenValue) -> tuple[str, Any]:
    datum = _state_datum(state)
    if isinstance(state, Throttle) and state.values:
        return "lanner.ListedRepeats", {"throttle": datum, "values": encode_values(state.values)}
    return _BRANCHES.get(type(state), f"lanner.{type(state).__name__}"), datum


def _state_datum(state: State | SeenGroup | SeenValue) -> dict[str, Any]:
    if isinstance(state, SeenValue):
        of_share = {"share": state.share, "private": state.is_private}
        return {"value": to_bytes(state.value), "seen": state.seen, "mark": state.mark, **of_share}
    if isinstance(state, SeenGroup):
        overflows = [{"share": share, "since": since} for share, since in state.overflows]
        return {"begun": state.begun, "overflows": overflows}
    if isinstance(state, EventCount):
        return {"stamps": [_stamp(stamp) for stamp in state.stamps], "total": state.total, "first": state.first}
    if isinstance(state, ValueCount):
        return {"values": [{"stamp": _stamp(stamp), "value": to_bytes(value)} for stamp, value in state.values]}
    if isinstance(state, Temporal):
        return {"legs": [None if leg is None else _seen(leg) for leg in state.legs]}
    if isinstance(state, Ordered):
        return {
            "newest": [None if stamp is None else _stamp(stamp) for stamp in state.newest],
            "chains": [[_seen(seen) for seen in chain] for chain in state.chains],
        }
    if isinstance(state, Tally):
        return {
            "origin": asdict(state.origin),
            "hostname": to_bytes(state.hostname),
            "time": state.time,
            "priority": state.priority,
            "text": to_bytes(state.text),
            "numbers": state.numbers,
            "sources": _applied(state.sources),
        }
    return {
        "first_id": state.first_id,
        "first": state.first,
        "period": state.period,
        "count": state.count,
        "last": state.last,
        "alert": state.alert,
        "sources": _applied(state.sources),
    }


def _applied(sources: Sources) -> list[dict[str, int]]:
    return [{"source": source, "position": position} for source, position in sources]


def _stamp(stamp: EventKey) -> dict[str, int]:
    return dict(zip(("time", "position", "source"), stamp, strict=True))


def _seen(seen: LegEvent) -> dict[str, Any]:
    return {"stamp": _stamp(seen.stamp), "hostname": to_bytes(seen.hostname), "kept": values_datum(seen.stored)}


def _read_stamp(row: dict[str, int]) -> EventKey:
    return (row["time"], row["position"], row["source"])


def _read_seen(row: dict[str, Any]) -> LegEvent:
    return LegEvent(_read_stamp(row["stamp"]), to_text(row["hostname"]), values_of(row["kept"]))


def _read_ordered(row: dict[str, Any]) -> Ordered:
    newest = tuple(None if stamp is None else _read_stamp(stamp[1]) for stamp in row["newest"])
    return Ordered(newest, tuple(tuple(_read_seen(seen) for seen in chain) for chain in row["chains"]))


def _read_throttle(row: dict[str, Any]) -> Throttle:
    return Throttle(**row | {"sources": _read_applied(row["sources"])})


def _read_tally(row: dict[str, Any]) -> Tally:
    return Tally(
        EventOrigin(**row["origin"]),
        to_text(row["hostname"]),
        row["time"],
        row["priority"],
        to_text(row["text"]),
        row["numbers"],
        _read_applied(row["sources"]),
    )


def _read_applied(rows: list[dict[str, int]]) -> Sources:
    return tuple((row["source"], row["position"]) for row in rows)


_BRANCHES: dict[type, str] = {SeenGroup: "lanner.SharedGroup", SeenValue: "lanner.SharedValue"}
"""Records whose names in the schema differ from those of the classes: earlier releases wrote these."""
_SEEN_READERS: dict[str, Callable[[dict[str, Any]], SeenGroup | SeenValue]] = {
    "lanner.SeenGroup": lambda row: SeenGroup(
        row["begun"], ((EVERYONE, row["overflowed"]),) if row["overflowed"] else ()
    ),
    "lanner.SeenValue": lambda row: SeenValue(to_text(row["value"]), row["seen"], row["mark"]),
    "lanner.SharedGroup": lambda row: SeenGroup(
        row["begun"], tuple((each["share"], each["since"]) for each in row["overflows"])
    ),
    "lanner.SharedValue": lambda row: SeenValue(
        to_text(row["value"]), row["seen"], row["mark"], row["share"], row["private"]
    ),
}
_READERS: dict[str, Callable[[dict[str, Any]], State]] = {
    "lanner.EventCount": lambda row: EventCount(tuple(map(_read_stamp, row["stamps"])), row["total"], row["first"]),
    "lanner.ValueCount": lambda row: ValueCount(
        tuple((_read_stamp(item["stamp"]), to_text(item["value"])) for item in row["values"])
    ),
    "lanner.Temporal": lambda row: Temporal(tuple(None if leg is None else _read_seen(leg[1]) for leg in row["legs"])),
    "lanner.Ordered": _read_ordered,
    "lanner.Throttle": _read_throttle,
    "lanner.ListedRepeats": lambda row: replace(_read_throttle(row["throttle"]), values=decode_values(row["values"])),
    "lanner.Tally": _read_tally,
}


Key = tuple[str, Group]
"""Fingerprint of the macro or rule, and the group."""

_MOST_NAMED = 1_000
OTHERS = "*"
"""Replaces the ids of hosts whose groups were evicted if there are too many."""


class Store:
    """Entries by key."""

    def __init__(self, maximum: int, deadline: Callable[[GroupState], int]) -> None:
        """Begin empty.

        deadline: returns when an entry is due, by the clock of ticks, ns; a change of the entry may postpone it.
        """
        self._maximum = maximum
        self._deadline = deadline
        self._entries: dict[Key, GroupState] = {}
        self._accounts: GroupAccounts[Key] = GroupAccounts()
        self._due: list[tuple[int, int, Key]] = []
        self._scheduled: dict[Key, int] = {}
        self._pushed = 0
        self._changed: dict[Key, int] = {}
        self.cause = 0
        """Noted beside each change: the message that is being applied, so that it can be named if the change fails."""
        self.evicted: Counter[str] = Counter()
        """Evicted groups, by host."""
        self._fresh: Counter[str] = Counter()

    def __len__(self) -> int:
        return len(self._entries)

    def __iter__(self) -> Iterator[GroupState]:
        return iter(self._entries.values())

    def get(self, key: Key) -> GroupState | None:
        """Return an entry; None if there is none."""
        return self._entries.get(key)

    def put(self, entry: GroupState) -> list[GroupState]:
        """Store an entry in place of the previous one; return the entries that were evicted to make room."""
        key = (entry.owner, entry.group)
        before = self._entries.get(key)
        if before is not None and before.host != entry.host:
            self._accounts.leave(before.host, key)
        self._entries[key] = entry
        self._accounts.touch(entry.host, key)
        self._changed[key] = self.cause
        self._schedule(key, self._deadline(entry))
        gone = []
        while len(self._entries) > self._maximum:
            gone.append(self._evict())
        return gone

    def remove(self, key: Key) -> None:
        """Remove an entry."""
        entry = self._entries.pop(key)
        self._accounts.leave(entry.host, key)
        self._scheduled.pop(key, None)
        self._changed[key] = self.cause

    def drop(self, key: Key) -> None:
        """Evict an entry that cannot be written; the caller deletes it from the table."""
        entry = self._entries.get(key)
        if entry is not None:
            self.remove(key)
            self._note_evicted(entry.host)

    def due(self, now: int) -> Iterator[GroupState]:
        """Yield each entry whose deadline has passed; the caller changes or removes it before it requests the next.

        now: by the clock of ticks, ns.
        """
        while self._due and self._due[0][0] <= now:
            when, _, key = heapq.heappop(self._due)
            if self._scheduled.get(key) != when:
                continue
            del self._scheduled[key]
            entry = self._entries[key]
            deadline = self._deadline(entry)
            if deadline > now:
                self._schedule(key, deadline)
            else:
                yield entry

    @property
    def has_changes(self) -> bool:
        """True if anything has changed since the changes were taken."""
        return bool(self._changed)

    def take_changes(self) -> list[tuple[Key, GroupState | None, int]]:
        """Return the changes since the last call: key, entry (None if it was removed), and the cause noted last."""
        changes = [(key, self._entries.get(key), cause) for key, cause in self._changed.items()]
        self._changed.clear()
        return changes

    def _schedule(self, key: Key, deadline: int) -> None:
        known = self._scheduled.get(key)
        if known is None or deadline < known:
            self._scheduled[key] = deadline
            self._pushed += 1
            heapq.heappush(self._due, (deadline, self._pushed, key))

    def _note_evicted(self, host: str) -> None:
        is_named = host in self.evicted or len(self.evicted) < _MOST_NAMED
        name = host if is_named else OTHERS
        self.evicted[name] += 1
        self._fresh[name] += 1

    def take_evicted(self) -> Counter[str]:
        """Return the groups evicted since the last call, by host."""
        fresh = self._fresh
        if fresh:
            self._fresh = Counter()
        return fresh

    def _evict(self) -> GroupState:
        key = self._accounts.oldest_of_largest()
        entry = self._entries[key]
        self.remove(key)
        self._note_evicted(entry.host)
        return entry
