"""The values of all groups in memory, bounded, with what has changed.

A group holds its values in one dictionary, and each change is one value: a new value costs the same however many are
known. A group that is full stores no further value, and while one that it could not store may be unknown, none of its
values counts as new. If all groups together are too many, the account with the most values gives up its oldest groups,
which learn again.
"""

import heapq
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

from processor.correlation.first_seen.span import SeenGroup, SeenValue, Span, seconds_of
from processor.correlation.pre_match import Group, PreMatch
from processor.correlation.state.accounts import NEWCOMERS
from processor.correlation.windows.outcome import UpdateOutcome

MAX_VALUES = 1_000_000
"""The limit for all groups together; a value takes about 164 bytes."""
_MARK_BITS = 63
_MARK = (1 << _MARK_BITS) - 1
_GOLDEN = 0x9E3779B97F4A7C15
_UNKNOWN_SECONDS = 3600
"""How often it is looked again whether a group of unknown rules has old values, s."""
_NOT_BEGUN = 1 << 62
"""In place of a time, in a group whose values alone were read: its next event begins it."""
_MOST_SWEPT = 50_000
"""Values to look at in one call, so that it takes no longer than about 25 ms."""
_SPARE = 100
"""Evict one hundredth more than necessary, so that not each new value searches for the largest account."""

GroupKey = tuple[str, Group]
"""Fingerprint of the macro, and the group."""
ValueKey = tuple[str, Group, str | None]
"""The same and a value; None for what is known of the group itself."""


@dataclass(slots=True)
class _Known:
    """One group."""

    host: str
    begun: int
    overflowed: int = 0
    values: dict[str, int] = field(default_factory=dict)
    """By value: the arrival of the newest sighting, s, then the mark of the first: one number takes less memory."""


@dataclass(frozen=True, slots=True)
class Sighting:
    """An event with a value."""

    owner: str
    group: Group
    value: str
    position: int
    source: int
    arrival: int
    """When the broker received it, ns."""
    host_id: str
    is_established: bool = True

    @property
    def mark(self) -> int:
        """Identifies the event."""
        return (self.source + self.position * _GOLDEN) & _MARK or 1


def sighting_of(pre_match: PreMatch, owner: str, value: str, now: int) -> Sighting:
    """Return a pre-matched event as a sighting.

    Args:
        pre_match: the event.
        owner: fingerprint of the macro.
        value: the event's.
        now: the clock, ns: the arrival of a batch that no broker dated.
    """
    origin = pre_match.origin
    return Sighting(
        owner,
        pre_match.group,
        value,
        origin.position,
        origin.source,
        pre_match.appended or now,
        origin.host_id,
        pre_match.is_established,
    )


class Sightings:
    """Values by group."""

    def __init__(self, spans: Mapping[str, Span], *, maximum: int = MAX_VALUES, group_maximum: int) -> None:
        """Begin empty.

        Args:
            spans: the times of macros, by fingerprint.
            maximum: of values of all groups together.
            group_maximum: of values of one group.
        """
        self._spans = spans
        self._maximum = maximum
        self.group_maximum = group_maximum
        self._groups: dict[GroupKey, _Known] = {}
        self._accounts: dict[str, OrderedDict[GroupKey, None]] = {}
        self._sizes: Counter[str] = Counter()
        """Values by account."""
        self._total = 0
        self._due: list[tuple[int, int, GroupKey]] = []
        self._pushed = 0
        self._changed: dict[ValueKey, int] = {}
        self.cause = 0
        """Noted beside each change: the message that is being applied."""
        self.evicted: Counter[str] = Counter()
        """Groups evicted since they were taken last, by account."""
        self.evicted_total = 0

    def change_rules(self, spans: Mapping[str, Span], group_maximum: int) -> None:
        """Use other times and another limit; arguments as in the constructor."""
        self._spans, self.group_maximum = spans, group_maximum

    def __len__(self) -> int:
        return self._total

    @property
    def groups(self) -> int:
        """The number of groups."""
        return len(self._groups)

    def see(self, sighting: Sighting) -> UpdateOutcome | bool:
        """Take an event.

        Returns:
            Whether its value is new; or why that isn't known.
        """
        span = self._spans.get(sighting.owner)
        if span is None:
            return UpdateOutcome.STALE
        key, arrival = (sighting.owner, sighting.group), seconds_of(sighting.arrival)
        known = self._touched(key, sighting, sighting.arrival)
        if sighting.arrival < known.begun:
            known.begun = sighting.arrival
            self._changed[*key, None] = self.cause
        before = known.values.get(sighting.value)
        if before is not None and span.is_known(seen := before >> _MARK_BITS, arrival):
            if before & _MARK == sighting.mark:
                return UpdateOutcome.STALE
            if span.is_newer(arrival, seen):
                self._write(key, known, sighting.value, arrival, before & _MARK)
            return False
        if not self._has_room(key, known, before, arrival, span):
            return UpdateOutcome.FULL
        self._write(key, known, sighting.value, arrival, sighting.mark)
        is_blind = known.overflowed and span.is_known(known.overflowed, arrival)
        if is_blind or sighting.arrival - known.begun < span.learning:
            return UpdateOutcome.LEARNING
        return True

    def learn(self, sighting: Sighting, now: int) -> None:
        """Take a value that was seen in the past, without an answer.

        A group of which nothing is known begins to learn now: not all of its values may have been learned.

        Args:
            sighting: the value and when it was seen.
            now: the present, ns.
        """
        span, key = self._spans.get(sighting.owner), (sighting.owner, sighting.group)
        if span is None:
            return
        known, seen = self._touched(key, sighting, now), seconds_of(sighting.arrival)
        before = known.values.get(sighting.value)
        if before is not None and not span.is_newer(seen, before >> _MARK_BITS):
            return
        if self._has_room(key, known, before, seen, span):
            self._write(key, known, sighting.value, seen, 0 if before is None else before & _MARK)

    def learned_since(self, owner: str, group: Group, arrival: int) -> None:
        """Begin a group's learning period in the past: all values since then were learned. arrival: ns."""
        known = self._groups.get((owner, group))
        if known is not None and arrival < known.begun:
            known.begun = arrival
            self._changed[owner, group, None] = self.cause

    def sweep(self, now: int) -> None:
        """Drop what no event can need; where much is due, some of it later. now: the clock, ns."""
        second, left = seconds_of(now), _MOST_SWEPT
        while left > 0 and self._due and self._due[0][0] <= second:
            _, _, key = heapq.heappop(self._due)
            known = self._groups.get(key)
            if known is None:
                continue
            left -= 1 + len(known.values)
            self._drop_past(key, known, second)
            if known.values:
                self._schedule(key, second)
            else:
                self.drop((*key, None))

    def drop(self, key: ValueKey) -> None:
        """Forget a value, or a group with all its values."""
        owner, group, value = key
        known = self._groups.get((owner, group))
        if known is None:
            return
        if value is not None:
            if known.values.pop(value, None) is not None:
                self._resize(known.host, -1)
                self._changed[key] = self.cause
            return
        del self._groups[owner, group]
        account = self._accounts[known.host]
        del account[owner, group]
        if not account:
            del self._accounts[known.host]
        self._resize(known.host, -len(known.values))
        self._changed[key] = self.cause
        self._changed.update(dict.fromkeys(((owner, group, each) for each in known.values), self.cause))

    def all_groups(self) -> list[GroupKey]:
        """Return the groups."""
        return list(self._groups)

    def load(self, owner: str, group: Group, host: str, state: SeenGroup | SeenValue) -> None:
        """Load one record; it counts as a change."""
        key = (owner, group)
        # The group's own record may follow those of its values.
        known = self._groups.get(key) or self._new(key, host, _NOT_BEGUN, due=0)
        if state == SeenGroup(0):
            self.drop((*key, None))
        elif isinstance(state, SeenGroup):
            self._move(key, known, host)
            known.begun, known.overflowed = state.begun, state.overflowed
            self._changed[*key, None] = self.cause
        elif state.seen:
            self._write(key, known, state.value, state.seen, state.mark)
        else:
            self.drop((*key, state.value))

    def retime(self, retime: Callable[[int], int]) -> int:
        """Replace all times; return the number of groups that changed. retime: ns to ns."""
        changed = 0
        for key, known in self._groups.items():
            begun = known.begun if known.begun == _NOT_BEGUN else retime(known.begun)
            moved = {}
            for value, packed in known.values.items():
                seen = max(1, seconds_of(retime((packed >> _MARK_BITS) * 10**9)))
                if seen != packed >> _MARK_BITS:
                    moved[value] = seen << _MARK_BITS | packed & _MARK
            if moved or begun != known.begun:
                changed += 1
                known.begun = begun
                known.values.update(moved)
                self._changed.update(dict.fromkeys(((*key, value) for value in (None, *moved)), self.cause))
        return changed

    @property
    def has_changes(self) -> bool:
        """Whether anything has changed since the changes were taken."""
        return bool(self._changed)

    def take_changes(self) -> list[tuple[ValueKey, str, SeenGroup | SeenValue | None, int]]:
        """Return what has changed since the last call: key, account, record (None where it is gone), and cause."""
        changes = [(key, *self._record(key), cause) for key, cause in self._changed.items()]
        self._changed.clear()
        return changes

    def records(self) -> Iterator[tuple[ValueKey, str, SeenGroup | SeenValue]]:
        """Yield all records with their keys and accounts."""
        for owner, group in list(self._groups):
            for value in (None, *self._groups[owner, group].values):
                host, record = self._record((owner, group, value))
                if record is not None:
                    yield (owner, group, value), host, record

    def take_evicted(self) -> Counter[str]:
        """Return the groups evicted since the last call, by account."""
        taken, self.evicted = self.evicted, Counter()
        return taken

    def _record(self, key: ValueKey) -> tuple[str, SeenGroup | SeenValue | None]:
        owner, group, value = key
        known = self._groups.get((owner, group))
        if known is None:
            return "", None
        if value is None:
            return known.host, SeenGroup(known.begun, known.overflowed)
        packed = known.values.get(value)
        return known.host, None if packed is None else SeenValue(value, packed >> _MARK_BITS, packed & _MARK)

    def _touched(self, key: GroupKey, sighting: Sighting, begun: int) -> _Known:
        """Return the group of a sighting, made the newest one; begun: when a new one begins to learn, ns."""
        known = self._groups.get(key)
        if known is None:
            host = sighting.host_id if sighting.is_established else NEWCOMERS
            return self._new(key, host, begun, seconds_of(sighting.arrival))
        if known.host == NEWCOMERS and sighting.is_established:
            self._move(key, known, sighting.host_id)
            self._changed[*key, None] = self.cause
        else:
            self._accounts[known.host].move_to_end(key)
        return known

    def _new(self, key: GroupKey, host: str, begun: int, due: int) -> _Known:
        known = self._groups[key] = _Known(host, begun)
        self._accounts.setdefault(host, OrderedDict())[key] = None
        self._changed[*key, None] = self.cause
        self._schedule(key, due)
        return known

    def _move(self, key: GroupKey, known: _Known, host: str) -> None:
        account = self._accounts[known.host]
        del account[key]
        if not account:
            del self._accounts[known.host]
        self._resize(known.host, -len(known.values))
        known.host = host
        self._accounts.setdefault(host, OrderedDict())[key] = None
        self._resize(host, len(known.values))

    def _resize(self, host: str, by: int) -> None:
        self._total += by
        self._sizes[host] += by
        if not self._sizes[host]:
            del self._sizes[host]

    def _write(self, key: GroupKey, known: _Known, value: str, seen: int, mark: int) -> None:
        if value not in known.values:
            self._resize(known.host, 1)
        known.values[value] = seen << _MARK_BITS | mark
        self._changed[*key, value] = self.cause
        if len(self) > self._maximum:
            self._evict(key)

    def _has_room(self, key: GroupKey, known: _Known, before: int | None, arrival: int, span: Span) -> bool:
        if before is not None or len(known.values) < self.group_maximum:
            return True
        if span.is_newer(arrival, known.overflowed):
            known.overflowed = arrival
            self._changed[*key, None] = self.cause
        return False

    def _drop_past(self, key: GroupKey, known: _Known, second: int) -> None:
        span = self._spans.get(key[0])
        if span is not None:
            for value in [each for each, packed in known.values.items() if span.is_past(packed >> _MARK_BITS, second)]:
                self.drop((*key, value))

    def _schedule(self, key: GroupKey, second: int) -> None:
        span = self._spans.get(key[0])
        part = _UNKNOWN_SECONDS if span is None else span.part
        self._pushed += 1
        heapq.heappush(self._due, ((second // part + 1) * part, self._pushed, key))

    def _evict(self, writing: GroupKey) -> None:
        """Evict groups, but for the one that is being written unless it is alone."""
        # By size, updated while evicting: searching all accounts again for each group would take seconds.
        largest = [(-size, account) for account, size in self._sizes.items()]
        heapq.heapify(largest)
        while len(self) > self._maximum - self._maximum // _SPARE:
            _, account = heapq.heappop(largest)
            oldest = next((key for key in self._accounts[account] if key != writing), writing)
            self.drop((*oldest, None))
            self.evicted[account] += 1
            self.evicted_total += 1
            if oldest == writing:
                return
            if size := self._sizes[account]:
                heapq.heappush(largest, (-size, account))
