"""One group of first_seen or prevalence: its values, their shares, and the shares that overflowed."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from foundation.caches import NEWCOMERS
from processor.matching.pre_match import Feed, Group, PreMatch, SeenGroup, Span, seconds_of
from processor.matching.shares import EVERYONE, Shares, bringer_of, share_of, whole_host

_GOLDEN = 0x9E3779B97F4A7C15
_MARK_BITS, _SEEN_BITS = 63, 40
_MARK, _SEEN = (1 << _MARK_BITS) - 1, (1 << _SEEN_BITS) - 1
_MOST_OVERFLOWS = 64
"""The maximum number of overflows that are stored: each needs a share that was the largest."""


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
    bringer: str = ""
    """The container or user on the host that brought it."""

    @property
    def host(self) -> str:
        """The host for which the value counts."""
        return self.host_id if self.is_established else NEWCOMERS

    @property
    def share(self) -> int:
        """The share toward which the value counts."""
        return share_of(self.host, self.bringer)

    @property
    def mark(self) -> int:
        """Identifies the event."""
        return (self.source + self.position * _GOLDEN) & (1 << 63) - 1 or 1


def sighting_of(pre_match: PreMatch, owner: str, feed: Feed, now: int) -> Sighting:
    """Return a pre-matched event as a sighting.

    now: the clock, ns; replaces the arrival time of a batch without one.
    """
    origin = pre_match.origin
    return Sighting(
        owner,
        pre_match.group,
        feed.value or "",
        origin.position,
        origin.source,
        pre_match.appended or now,
        origin.host_id,
        pre_match.is_established,
        bringer_of(feed.stored),
    )


@dataclass(frozen=True, slots=True)
class HostCount:
    """How many hosts had a group."""

    hosts: int
    """Hosts that are new to the fleet count as one, and only if no other host had it."""
    since: int
    """Arrival of its first event, ns."""
    ids: tuple[str, ...] = ()
    """The hosts' ids, in order."""


class ValueFacts(NamedTuple):
    """The facts about a value; the fields are those of SeenValue."""

    share: int
    seen: int
    mark: int = 0
    is_private: bool = False


def _pack(facts: ValueFacts) -> int:
    """Return one number, which takes less memory."""
    return ((facts.share << 1 | facts.is_private) << _SEEN_BITS | facts.seen) << _MARK_BITS | facts.mark


def _unpack(packed: int) -> ValueFacts:
    rest = packed >> _MARK_BITS
    head = rest >> _SEEN_BITS
    return ValueFacts(head >> 1, rest & _SEEN, packed & _MARK, bool(head & 1))


@dataclass(slots=True)
class KnownGroup:
    """One group."""

    begun: int
    """Arrival of its first event, ns."""
    overflows: dict[int, int] = field(default_factory=dict)
    """By share, the time since which there was no room for its values, s."""
    _values: dict[str, int] = field(default_factory=dict)
    _shares: Shares | None = None
    """The sizes of the shares while the group is full, else None."""

    def __len__(self) -> int:
        return len(self._values)

    def __iter__(self) -> Iterator[tuple[str, ValueFacts]]:
        return ((value, _unpack(packed)) for value, packed in self._values.items())

    def get(self, value: str) -> ValueFacts | None:
        """Return the facts about a value; None if it is unknown."""
        packed = self._values.get(value)
        return None if packed is None else _unpack(packed)

    def put(self, value: str, facts: ValueFacts) -> ValueFacts | None:
        """Store a value and return the former facts about it."""
        before = self.get(value)
        self._values[value] = _pack(facts)
        if self._shares is not None:
            self._shares.add(value, facts.share, facts.seen)
            if before is not None:
                self._shares.remove(before.share)
            if self._shares.is_worn:
                self._shares = None
        return before

    def pop(self, value: str) -> ValueFacts | None:
        """Forget a value and return the facts about it."""
        self._shares = None
        packed = self._values.pop(value, None)
        return None if packed is None else _unpack(packed)

    def spare(self, share: int) -> str | None:
        """Return the value to forget so that a share can have one more; None if the share has too many itself."""
        if self._shares is None:
            self._shares = Shares((value, facts.share, facts.seen) for value, facts in self)
        return self._shares.spare(share, self._is_current)

    def give_up(self, value: str) -> ValueFacts:
        """Forget the value that `spare` returned, and return the facts about it."""
        facts = _unpack(self._values.pop(value))
        if self._shares is not None:
            self._shares.remove(facts.share)
        return facts

    def _is_current(self, value: str, share: int, seen: int) -> bool:
        facts = self.get(value)
        return facts is not None and (facts.share, facts.seen) == (share, seen)

    def hosts(self, arrival: int, span: Span) -> HostCount:
        """Return which hosts had the group, if its values are hosts. arrival: the event's, s."""
        ids = sorted(value for value, facts in self if value != NEWCOMERS and span.is_known(facts.seen, arrival))
        return HostCount(len(ids) or 1, self.begun, tuple(ids))

    def past(self, second: int, span: Span) -> list[str]:
        """Return the values that no event can need any longer. second: the clock."""
        packed = self._values.items()
        return [value for value, each in packed if span.is_past(each >> _MARK_BITS & _SEEN, second)]

    def is_blind(self, share: int, arrival: int, span: Span) -> bool:
        """Return whether values of a share may have been seen and not stored. arrival: the event's, s."""
        overflows = self.overflows
        shares = (share, whole_host(share))
        return bool(overflows) and any(span.is_known(overflows[each], arrival) for each in shares if each in overflows)

    def is_blind_for_all(self, arrival: int, span: Span) -> bool:
        """Return whether `is_blind` is true for every share. arrival: the event's, s."""
        return EVERYONE in self.overflows and span.is_known(self.overflows[EVERYONE], arrival)

    def overflow(self, share: int, since: int) -> bool:
        """Note that there was no room for a value; return False if that can't be stored. since: s."""
        if share not in self.overflows and len(self.overflows) >= _MOST_OVERFLOWS:
            return False
        self.overflows[share] = since
        return True

    def drop_overflows(self, second: int, span: Span) -> bool:
        """Forget the overflows that no event can need any longer, and return whether any were. second: the clock."""
        over = [share for share, since in self.overflows.items() if span.is_past(since, second)]
        for share in over:
            del self.overflows[share]
        return bool(over)

    def record(self) -> SeenGroup:
        """Return the record of the group, without its values."""
        return SeenGroup(self.begun, tuple(self.overflows.items()))

    def retime(self, retime: Callable[[int], int]) -> Iterator[str]:
        """Replace the times of values and overflows, and yield the values that changed. retime: ns to ns."""
        self.overflows = {share: _retimed(since, retime) for share, since in self.overflows.items()}
        self._shares = None
        for value, facts in list(self):
            seen = _retimed(facts.seen, retime)
            if seen != facts.seen:
                self._values[value] = _pack(facts._replace(seen=seen))
                yield value


def _retimed(second: int, retime: Callable[[int], int]) -> int:
    return max(1, seconds_of(retime(second * 10**9)))
