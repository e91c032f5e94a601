"""The values of all groups in memory, bounded, and the changes to them.

A group has its values in one dictionary, and each change is one value: a new value costs the same however many are
known. In a full group, the share with the most values gives some up for others (`shares`). If the largest share needs
room itself, it overflows: for a lookback, none of its values counts as new, and a value that can still be stored is
known for this share alone. If all groups together have too many values, the hosts with the most give up their oldest;
a group that has none left learns again.
"""

import heapq
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import pairwise

from foundation.caches import NEWCOMERS
from processor.correlation.first_seen_group import HostCount, KnownGroup, Sighting, ValueFacts
from processor.correlation.groups import Key
from processor.correlation.windows import UpdateOutcome
from processor.matching.pre_match import Group, SeenGroup, SeenValue, Span, seconds_of
from processor.matching.shares import host_of, share_of, whole_host

MAX_VALUES = 1_000_000
"""The limit for all groups together; a value takes about 164 bytes."""
_UNKNOWN_SECONDS = 3600
"""The interval at which groups of unknown rules are searched for old values, s."""
_NOT_BEGUN = 1 << 62
"""Replaces the time in a group of which only values were read: its next event begins it."""
_MOST_SWEPT = 50_000
"""Values to look at in one call, so that it takes no longer than about 25 ms."""
SPARE_HOSTS = 4
"""Hosts that a group of prevalence stores beyond those that decide: one that floods loses its own places."""
_SPARE = 100
"""Evict one hundredth more than necessary, so that not every new value searches for the largest hosts."""

ValueKey = tuple[str, Group, str | None]
"""Fingerprint of the macro, the group and a value; None for the record of the group itself."""


class Sightings:
    """Values by group."""

    def __init__(self, spans: Mapping[str, Span], *, maximum: int = MAX_VALUES, group_maximum: int) -> None:
        """Begin empty. spans: the times of macros, by fingerprint."""
        self._spans = spans
        self._maximum = maximum
        self.group_maximum = group_maximum
        self._groups: OrderedDict[Key, KnownGroup] = OrderedDict()
        """Groups that changed least recently come first."""
        self._sizes: Counter[int] = Counter()
        """Values by host."""
        self._owned: Counter[tuple[str, int]] = Counter()
        """Values by macro and host."""
        self._hosts: dict[int, str] = {}
        """The ids of these hosts."""
        self._total = 0
        self._due: list[tuple[int, int, Key]] = []
        self._pushed = 0
        self._changed: dict[ValueKey, int] = {}
        self.cause = 0
        """Noted beside each change: the message that is being applied."""
        self.evicted: Counter[str] = Counter()
        """By host, the groups whose values were evicted since the last call of take_evicted."""
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
        """Take an event; return whether its value is new, or the reason why that isn't known."""
        span = self._spans.get(sighting.owner)
        if span is None:
            return UpdateOutcome.STALE
        key, arrival = (sighting.owner, sighting.group), seconds_of(sighting.arrival)
        known = self._touched(key, sighting.arrival, arrival)
        if sighting.arrival < known.begun:
            known.begun = sighting.arrival
            self._changed[*key, None] = self.cause
        share = sighting.share
        before = known.get(sighting.value)
        if before is not None and span.is_known(before.seen, arrival):
            if before.mark == sighting.mark:
                return UpdateOutcome.STALE
            if not before.is_private or before.share == share:
                if span.is_newer(arrival, before.seen):
                    self._see_again(key, known, sighting, before)
                return False
        is_blind = known.is_blind(share, arrival, span)
        if before is None and not self._make_room(key, known, share):
            if not is_blind:
                known.drop_overflows(arrival, span)
                self._overflow(key, known, share, arrival)
            return UpdateOutcome.FULL
        is_learning = sighting.arrival - known.begun < span.learning or known.is_blind_for_all(arrival, span)
        is_private = is_blind and not is_learning
        self._write(key, known, sighting.value, ValueFacts(share, arrival, sighting.mark, is_private), sighting.host)
        return UpdateOutcome.LEARNING if is_blind or is_learning else True

    def count_hosts(self, sighting: Sighting) -> UpdateOutcome | HostCount:
        """Take an event; return how many hosts had its group, or the reason why that isn't known.

        A group stores few more hosts than decide, so from the threshold on the number may be larger.
        """
        span = self._spans.get(sighting.owner)
        if span is None:
            return UpdateOutcome.STALE
        known = self._groups.get((sighting.owner, sighting.group))
        before = None if known is None else known.get(sighting.host)
        if before is not None and before.mark == sighting.mark:
            return UpdateOutcome.STALE
        begun = self._begun_by((sighting.owner, ()), sighting.arrival)
        known = self._with_host(sighting, span)
        if known is None:
            return UpdateOutcome.FULL
        is_learning = sighting.arrival - begun < span.learning
        return UpdateOutcome.LEARNING if is_learning else known.hosts(seconds_of(sighting.arrival), span)

    def learns_until(self, key: Key) -> int:
        """Return when a group's learning period ends, ns; 0 if it is unknown."""
        span = self._spans.get(key[0])
        known = self._groups.get((key[0], ()) if span is not None and span.hosts else key)
        return 0 if known is None or span is None else known.begun + span.learning

    def learn(self, sighting: Sighting, now: int) -> None:
        """Add a value that was seen in the past. now: the present, ns.

        An unknown group begins to learn now, since perhaps not all of its values were learned.
        """
        span, key = self._spans.get(sighting.owner), (sighting.owner, sighting.group)
        if span is None:
            return
        if span.hosts:
            self._with_host(sighting, span)
            return
        seen = seconds_of(sighting.arrival)
        known = self._touched(key, now, seen)
        before = known.get(sighting.value)
        if before is not None:
            if span.is_newer(seen, before.seen):
                self._see_again(key, known, sighting, before)
        elif self._make_room(key, known, sighting.share):
            self._write(key, known, sighting.value, ValueFacts(sighting.share, seen), sighting.host)

    def learned_since(self, owner: str, group: Group, arrival: int) -> None:
        """Begin a group's learning period in the past: all values since then were learned. arrival: ns.

        Prevalence learns for all groups together.
        """
        if (span := self._spans.get(owner)) is not None and span.hosts:
            self._begun_by((owner, ()), arrival)
        known = self._groups.get((owner, group))
        if known is not None and arrival < known.begun:
            known.begun = arrival
            self._changed[owner, group, None] = self.cause

    def sweep(self, now: int) -> None:
        """Drop values that no event can need; if many are due, some later. now: the clock, ns."""
        second, left = seconds_of(now), _MOST_SWEPT
        while left > 0 and self._due and self._due[0][0] <= second:
            _, _, key = heapq.heappop(self._due)
            known = self._groups.get(key)
            if known is None:
                continue
            left -= 1 + len(known)
            if (span := self._spans.get(key[0])) is not None:
                for value in known.past(second, span):
                    self.drop((*key, value))
                if known.drop_overflows(second, span):
                    self._changed[*key, None] = self.cause
            if len(known) or self._is_beginning(key):
                self._schedule(key, second)
            else:
                self.drop((*key, None))

    def drop(self, key: ValueKey) -> None:
        """Forget a value, or a group with all its values."""
        owner, group, value = key
        known = self._groups.get((owner, group))
        if known is None:
            return
        for each in [text for text, _ in known] if value is None else [value]:
            before = known.pop(each)
            if before is not None:
                self._resize(owner, before.share, -1)
                self._changed[owner, group, each] = self.cause
        if value is None:
            del self._groups[owner, group]
            self._changed[key] = self.cause

    def all_groups(self) -> list[Key]:
        """Return the groups."""
        return list(self._groups)

    def load(self, owner: str, group: Group, host: str, state: SeenGroup | SeenValue) -> None:
        """Load one record; it counts as a change."""
        key = (owner, group)
        known = self._groups.get(key)
        if known is None:
            # The group's own record may follow those of its values.
            known = self._new(key, _NOT_BEGUN, due=0)
        if state == SeenGroup(0):
            self.drop((*key, None))
        elif isinstance(state, SeenGroup):
            known.begun, known.overflows = state.begun, dict(state.overflows)
            self._changed[*key, None] = self.cause
        elif state.seen:
            share = state.share or share_of(host, "")
            self._write(key, known, state.value, ValueFacts(share, state.seen, state.mark, state.is_private), host)
        else:
            self.drop((*key, state.value))

    def retime(self, retime: Callable[[int], int]) -> int:
        """Replace all times; return the number of groups that changed. retime: ns to ns."""
        changed = 0
        for key, known in self._groups.items():
            begun = known.begun if known.begun == _NOT_BEGUN else retime(known.begun)
            before = known.record()
            moved = list(known.retime(retime))
            known.begun = begun
            if moved or known.record() != before:
                changed += 1
                self._changed.update(dict.fromkeys(((*key, value) for value in (None, *moved)), self.cause))
        return changed

    @property
    def has_changes(self) -> bool:
        """True if anything has changed since the changes were taken."""
        return bool(self._changed)

    def take_changes(self) -> list[tuple[ValueKey, str, SeenGroup | SeenValue | None, int]]:
        """Return the changes since the last call: key, host, record (None if it was removed), and cause.

        The host is the one toward which a value counts, and empty for a group.
        """
        changes = [(key, *self._record(key), cause) for key, cause in self._changed.items()]
        self._changed.clear()
        return changes

    def records(self) -> Iterator[tuple[ValueKey, str, SeenGroup | SeenValue]]:
        """Yield all records with their keys and hosts, as in take_changes."""
        for owner, group in list(self._groups):
            for value in (None, *(text for text, _ in self._groups[owner, group])):
                host, record = self._record((owner, group, value))
                if record is not None:
                    yield (owner, group, value), host, record

    def take_evicted(self) -> Counter[str]:
        """Return by host the groups whose values were evicted since the last call."""
        taken, self.evicted = self.evicted, Counter()
        return taken

    def _with_host(self, sighting: Sighting, span: Span) -> KnownGroup | None:
        """Return a group that counts the event's host; None if the host has too many groups itself."""
        key, arrival, host = (sighting.owner, sighting.group), seconds_of(sighting.arrival), sighting.host
        known = self._groups.get(key)
        before = None if known is None else known.get(host)
        has_room = before is not None or self._owned[sighting.owner, host_of(sighting.share)] < self.group_maximum
        if not has_room and (known is None or known.hosts(arrival, span).hosts < span.hosts):
            return None
        self._begun_by(key, sighting.arrival)
        known = self._touched(key, sighting.arrival, arrival)
        if before is None and has_room and len(known) >= span.hosts + SPARE_HOSTS:
            past = next((value for value, facts in known if not span.is_known(facts.seen, arrival)), None)
            if has_room := past is not None:
                self.drop((*key, past))
        if has_room and (before is None or span.is_newer(arrival, before.seen)):
            self._write(key, known, host, ValueFacts(sighting.share, arrival, sighting.mark), host)
        return known

    def _is_beginning(self, key: Key) -> bool:
        """Return whether a group is the record of when prevalence began to count, which has no values."""
        span = self._spans.get(key[0])
        return not key[1] and (span is None or span.hosts > 0)

    def _record(self, key: ValueKey) -> tuple[str, SeenGroup | SeenValue | None]:
        owner, group, value = key
        known = self._groups.get((owner, group))
        if known is None:
            return "", None
        if value is None:
            return "", known.record()
        facts = known.get(value)
        if facts is None:
            return "", None
        host = self._hosts[host_of(facts.share)]
        return host, SeenValue(value, facts.seen, facts.mark, facts.share, facts.is_private)

    def _touched(self, key: Key, begun: int, due: int) -> KnownGroup:
        """Return a group, now the newest one. begun: when a new one begins to learn, ns. due: its event's time, s."""
        known = self._groups.get(key)
        if known is None:
            return self._new(key, begun, due)
        self._groups.move_to_end(key)
        return known

    def _new(self, key: Key, begun: int, due: int) -> KnownGroup:
        known = self._groups[key] = KnownGroup(begun)
        self._changed[*key, None] = self.cause
        self._schedule(key, due)
        return known

    def _begun_by(self, key: Key, arrival: int) -> int:
        """Return when a group began, ns: at its first event. arrival: of one of them, ns."""
        known = self._groups.get(key)
        if known is None:
            known = self._new(key, arrival, seconds_of(arrival))
        elif arrival < known.begun:
            known.begun = arrival
            self._changed[*key, None] = self.cause
        return known.begun

    def _resize(self, owner: str, share: int, by: int) -> None:
        host = host_of(share)
        self._owned[owner, host] += by
        if not self._owned[owner, host]:
            del self._owned[owner, host]
        self._total += by
        self._sizes[host] += by
        if not self._sizes[host]:
            del self._sizes[host], self._hosts[host]

    def _see_again(self, key: Key, known: KnownGroup, sighting: Sighting, before: ValueFacts) -> None:
        """Record that a value was seen; a value of newcomers then counts for a host that is established."""
        share, host = before.share, self._hosts[host_of(before.share)]
        if host == NEWCOMERS:
            share, host = sighting.share, sighting.host
        facts = before._replace(share=share, seen=seconds_of(sighting.arrival))
        self._write(key, known, sighting.value, facts, host)

    def _write(self, key: Key, known: KnownGroup, value: str, facts: ValueFacts, host: str) -> None:
        self._hosts[host_of(facts.share)] = host
        self._resize(key[0], facts.share, 1)
        before = known.put(value, facts)
        if before is not None:
            self._resize(key[0], before.share, -1)
        self._changed[*key, value] = self.cause
        if len(self) > self._maximum:
            self._evict()

    def _make_room(self, key: Key, known: KnownGroup, share: int) -> bool:
        """Make another share give up a value if the group is full; return whether there is room now."""
        while len(known) >= self.group_maximum:
            spare = known.spare(share)
            if spare is None:
                return False
            self._resize(key[0], known.give_up(spare).share, -1)
            self._changed[*key, spare] = self.cause
        return True

    def _overflow(self, key: Key, known: KnownGroup, share: int, since: int) -> None:
        if known.overflow(share, since):
            self._changed[*key, None] = self.cause

    def _schedule(self, key: Key, second: int) -> None:
        span = self._spans.get(key[0])
        part = _UNKNOWN_SECONDS if span is None else span.part
        self._pushed += 1
        heapq.heappush(self._due, ((second // part + 1) * part, self._pushed, key))

    def _evict(self) -> None:
        """Evict the oldest values of the hosts that have the most, from the groups that changed least recently."""
        due = len(self) - self._maximum + self._maximum // _SPARE
        level = _level(sorted(self._sizes.values(), reverse=True), due)
        for key, known in list(self._groups.items()):
            gone: dict[int, int] = {}
            for seen, value, share in sorted((facts.seen, value, facts.share) for value, facts in known):
                if due > 0 and self._sizes[host_of(share)] > level:
                    if whole_host(share) not in gone:
                        self.evicted[self._hosts[host_of(share)]] += 1
                        self.evicted_total += 1
                    gone[whole_host(share)] = seen
                    self.drop((*key, value))
                    due -= 1
            if self._is_beginning(key):
                continue
            if not len(known):
                self.drop((*key, None))
            else:
                # A value that was evicted may be seen again.
                for share, seen in gone.items():
                    self._overflow(key, known, share, seen)
            if due <= 0:
                return


def _level(sizes: Sequence[int], due: int) -> int:
    """Return the size to which the largest must shrink so that enough values are removed. sizes: descending."""
    for number, (size, following) in enumerate(pairwise((*sizes, 0)), start=1):
        if number * (size - following) >= due:
            return size - -(-due // number)
        due -= number * (size - following)
    return 0
