"""Windows of stateful macros: counts of events and of values, and legs in any order or in the order of their names.

All functions are pure: a window and an event in, the next window out. Counts store as many events or values as the
threshold. A leg stores only its newest event, or the chain that reaches it and began last. So the state doesn't grow
with the number of events.
"""

from bisect import bisect, insort
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum

from processor.matching.pre_match import EventKey, Feed, PreMatch
from processor.splitting import StatefulMacro
from schemas.alert import Value

ALLOWED_LATENESS = 60_000_000_000
"""How much older than its window an event may be before it counts as late, ns."""


class UpdateOutcome(Enum):
    """True if an event was taken."""

    TAKEN = "taken"
    STALE = "stale"
    """Already applied, or older than all events that the window stores: it changes nothing."""
    LATE = "late"
    """Older than the window and its lateness allow."""
    LEARNING = "learning"
    """Its value is unknown, but the group is still learning, or had no room for a value: perhaps it is not new."""
    FULL = "full"
    """Its value is unknown, and the group has no room for it."""


@dataclass(frozen=True, slots=True)
class LegEvent:
    """The part of a leg's event that a window stores."""

    stamp: EventKey
    hostname: str = ""
    stored: Mapping[str, Value] = field(default_factory=dict)
    """The fields that outputs name."""

    @property
    def time(self) -> int:
        """Event time, ns."""
        return self.stamp[0]


@dataclass(frozen=True, slots=True)
class Fired:
    """A window whose condition is met, with the values of ``%correlation``."""

    count: int
    first: int
    """Event time of the oldest event that counts, ns."""
    last: int
    values: tuple[str, ...] = ()
    legs: tuple[tuple[str, LegEvent], ...] = ()
    hosts: int = 0
    """Number of hosts that had the group, of prevalence; `first` is then when its first event arrived."""
    unmet: int = 0
    """Number of folded events before the condition was met."""


def is_late(newest: int, time: int, timespan: int, lateness: int = ALLOWED_LATENESS) -> bool:
    """Return whether an event is too late: older than the newest one by more than timespan and lateness, ns."""
    return newest - time > timespan + lateness


SHOWN_VALUES = 20


@dataclass(frozen=True, slots=True)
class EventCount:
    """The keys of a group's newest events, oldest first."""

    stamps: tuple[EventKey, ...] = ()
    total: int = 0
    """Events in the window; from the threshold on, all events for as long as the condition is met."""
    first: int = 0
    """Time of the first of them, ns."""


@dataclass(frozen=True, slots=True)
class ValueCount:
    """The values seen last in a group, each with the key of its newest event, oldest first."""

    values: tuple[tuple[EventKey, str], ...] = ()


def count_event(
    state: EventCount,
    stamp: EventKey,
    *,
    timespan: int,
    threshold: int,
    lateness: int = ALLOWED_LATENESS,
    weight: int = 1,
) -> tuple[EventCount, Fired | None, UpdateOutcome]:
    """Count an event, or several equal events that arrived as one.

    Args:
        state: the group's window; an empty one for a new group.
        stamp: the event's.
        timespan: ns.
        threshold: how many events are enough; as many keys are stored.
        lateness: ns.
        weight: how many events it stands for.

    Returns:
        The new state; the window, if the event is in it and the condition is met; and the outcome for this event.
    """
    stamps = state.stamps
    if stamps and is_late(stamps[-1][0], stamp[0], timespan, lateness):
        return state, None, UpdateOutcome.LATE
    if stamp in stamps or (len(stamps) >= threshold and stamp < stamps[0]):
        return state, None, UpdateOutcome.STALE
    retained = list(stamps)
    index = bisect(retained, stamp)
    retained[index:index] = [stamp] * min(weight, threshold)
    newest = retained[-1][0]
    inside = [held[0] for held in retained if newest - held[0] <= timespan]
    del retained[: max(0, len(retained) - threshold)]
    if len(inside) < threshold:
        return EventCount(tuple(retained), len(inside), inside[0]), None, UpdateOutcome.TAKEN
    others = threshold if weight == 1 else sum(newest - held[0] <= timespan for held in stamps)
    unmet = max(0, threshold - 1 - others)
    if state.total >= threshold:
        total, first = state.total + weight, min(state.first, stamp[0])
    else:
        total, first = len(inside) + max(0, weight - threshold), inside[0]
    return EventCount(tuple(retained), total, first), Fired(total, first, newest, unmet=unmet), UpdateOutcome.TAKEN


def count_value(
    state: ValueCount, stamp: EventKey, value: str, *, timespan: int, threshold: int, lateness: int = ALLOWED_LATENESS
) -> tuple[ValueCount, Fired | None, UpdateOutcome]:
    """Count an event's value unless the window contains it.

    Arguments and result are as for count_event, for distinct values.
    """
    values = state.values
    if values and is_late(values[-1][0][0], stamp[0], timespan, lateness):
        return state, None, UpdateOutcome.LATE
    before = next((held for held, name in values if name == value), None)
    overtaken = len(values) >= threshold and stamp < values[0][0]
    if (before is not None and stamp <= before) or (before is None and overtaken):
        return state, None, UpdateOutcome.STALE
    retained = [entry for entry in values if entry[1] != value]
    insort(retained, (stamp, value))
    del retained[: max(0, len(retained) - threshold)]
    newest = retained[-1][0][0]
    after = ValueCount(tuple(retained))
    if newest - retained[0][0][0] > timespan or len(retained) < threshold:
        return after, None, UpdateOutcome.TAKEN
    shown = tuple(name for _, name in retained[-SHOWN_VALUES:])
    return after, Fired(len(retained), retained[0][0][0], newest, values=shown), UpdateOutcome.TAKEN


@dataclass(frozen=True, slots=True)
class Temporal:
    """The newest event of each leg, in order of the legs."""

    legs: tuple[LegEvent | None, ...] = ()


@dataclass(frozen=True, slots=True)
class Ordered:
    """The key of each leg's newest event, and the chain that reaches the leg and began last."""

    newest: tuple[EventKey | None, ...] = ()
    """By leg; the last one is that of the newest event that ended chains, if there was one."""
    chains: tuple[tuple[LegEvent, ...], ...] = ()
    """By leg, the events of the first leg up to this one; empty if no chain reaches it."""


def see_leg(
    state: Temporal,
    legs: Mapping[int, LegEvent],
    *,
    names: tuple[str, ...],
    timespan: int,
    lateness: int = ALLOWED_LATENESS,
) -> tuple[Temporal, Fired | None, UpdateOutcome]:
    """Take an event of one or more legs; it completes the window if all legs are within the timespan.

    Args:
        state: the group's window; an empty one for a new group.
        legs: the event, by the indices of the legs whose conditions it satisfies, with the part of it that each stores.
        names: of all legs, in order.
        timespan: ns; it reaches back from the group's newest event.
        lateness: ns.

    Returns:
        The new state; the window, if the event is in it and it is complete; and the outcome for this event.
    """
    held: list[LegEvent | None] = list(state.legs or (None,) * len(names))
    times = [leg.time for leg in held if leg is not None]
    if times and is_late(max(times), _time(legs), timespan, lateness):
        return state, None, UpdateOutcome.LATE
    taken = {leg: seen for leg, seen in legs.items() if (before := held[leg]) is None or before.stamp < seen.stamp}
    if not taken:
        return state, None, UpdateOutcome.STALE
    for leg, seen in taken.items():
        held[leg] = seen
    after = Temporal(tuple(held))
    present = [leg for leg in held if leg is not None]
    first, last = min(leg.time for leg in present), max(leg.time for leg in present)
    if len(present) < len(names) or last - first > timespan:
        return after, None, UpdateOutcome.TAKEN
    return after, Fired(len(names), first, last, legs=tuple(zip(names, present, strict=True))), UpdateOutcome.TAKEN


def extend_chain(
    state: Ordered,
    legs: Mapping[int, LegEvent],
    *,
    names: tuple[str, ...],
    timespan: int,
    until: EventKey | None = None,
    lateness: int = ALLOWED_LATENESS,
) -> tuple[Ordered, Fired | None, UpdateOutcome]:
    """Take an event of one or more legs; it extends the chain that reaches the leg before, the last leg completes it.

    A chain is extended by an event that is not older than its end, within the timespan from its beginning. An event
    that ends chains (`until` is its key) ends all that began before it; it does so before it is a step of one itself.
    Arguments and result are as for see_leg.
    """
    newest: list[EventKey | None] = list(state.newest or (None,) * len(names))
    chains = list(state.chains or ((),) * len(names))
    times = [stamp[0] for stamp in newest if stamp is not None]
    if times and is_late(max(times), _time(legs) if until is None else until[0], timespan, lateness):
        return state, None, UpdateOutcome.LATE
    outcome, complete = UpdateOutcome.STALE, None
    ended = newest[len(names)] if len(newest) > len(names) else None
    if until is not None and (ended is None or ended < until):
        newest[len(names) :], ended, outcome = [until], until, UpdateOutcome.TAKEN
        chains = [chain if chain and chain[0].stamp >= until else () for chain in chains]
    # From the last leg to the first, so that one event is never two steps of a chain.
    for leg in sorted(legs, reverse=True):
        before, seen = newest[leg], legs[leg]
        if before is not None and seen.stamp <= before:
            continue
        newest[leg] = seen.stamp
        outcome = UpdateOutcome.TAKEN
        chain = (*chains[leg - 1], seen) if leg else (seen,)
        if len(chain) <= leg or (leg and not _follows(chain, timespan)):
            continue
        if ended is not None and chain[0].stamp < ended:
            continue
        if not chains[leg] or chains[leg][0].stamp < chain[0].stamp:
            chains[leg] = chain
        if leg == len(names) - 1:
            complete = chain
    after = Ordered(tuple(newest), tuple(chains))
    if complete is None:
        return after, None, outcome
    fired = Fired(len(names), complete[0].time, complete[-1].time, legs=tuple(zip(names, complete, strict=True)))
    return after, fired, outcome


def _time(legs: Mapping[int, LegEvent]) -> int:
    return next(iter(legs.values())).time


def _follows(chain: tuple[LegEvent, ...], timespan: int) -> bool:
    end, seen = chain[-2], chain[-1]
    return end.time <= seen.time and end.stamp != seen.stamp and seen.time - chain[0].time <= timespan


Window = EventCount | ValueCount | Temporal | Ordered
"""The state of a window, by the type of its macro."""


def update_window(
    macro: StatefulMacro, state: object, pre_match: PreMatch, holding: Mapping[int, Feed]
) -> tuple[Window, Fired | None, UpdateOutcome]:
    """Return the window's next state, the window if its condition is met, and the outcome for the event.

    state: one of another type counts as none. holding: by leg, the feed that is true of the event.
    """
    correlation = macro.correlation
    stamp = pre_match.origin.stamp(pre_match.time)
    timespan, threshold = correlation.timespan, correlation.threshold
    if correlation.type == "event_count":
        count = state if isinstance(state, EventCount) else EventCount()
        return count_event(count, stamp, timespan=timespan, threshold=threshold, weight=pre_match.weight)
    if correlation.type == "value_count":
        values = state if isinstance(state, ValueCount) else ValueCount()
        fired, outcome = None, UpdateOutcome.STALE
        # If rules are counted, an event may match several of them.
        for value in dict.fromkeys(feed.value or "" for feed in holding.values()):
            values, now_fired, taken = count_value(values, stamp, value, timespan=timespan, threshold=threshold)
            fired = now_fired or fired
            outcome = taken if outcome is not UpdateOutcome.TAKEN else outcome
        return values, fired, outcome
    events = {leg: LegEvent(stamp, pre_match.hostname, feed.stored) for leg, feed in holding.items()}
    if correlation.type == "temporal":
        legs = state if isinstance(state, Temporal) else Temporal()
        return see_leg(legs, events, names=correlation.legs, timespan=timespan)
    chains = state if isinstance(state, Ordered) else Ordered()
    ends = events.pop(len(correlation.legs), None)
    until = None if ends is None else ends.stamp
    return extend_chain(chains, events, names=correlation.legs, timespan=timespan, until=until)
