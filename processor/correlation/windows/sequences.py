"""Windows of several legs: in any order, or in the order in which they are named.

Each leg stores only its newest event, or the chain that reaches it and began last, so the state does not
grow with the number of events.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from processor.correlation.pre_match import EventKey
from processor.correlation.windows.outcome import ALLOWED_LATENESS, Fired, LegEvent, UpdateOutcome, is_late


@dataclass(frozen=True, slots=True)
class Temporal:
    """The newest event of each leg, in order of the legs."""

    legs: tuple[LegEvent | None, ...] = ()


@dataclass(frozen=True, slots=True)
class Ordered:
    """The key of each leg's newest event, and the chain that reaches the leg and began last."""

    newest: tuple[EventKey | None, ...] = ()
    """By leg; behind them that of the newest event that ended chains, if there was one."""
    chains: tuple[tuple[LegEvent, ...], ...] = ()
    """Events of the first leg up to this one; empty where no chain reaches it."""


def see_leg(
    state: Temporal,
    legs: Mapping[int, LegEvent],
    *,
    names: tuple[str, ...],
    timespan: int,
    lateness: int = ALLOWED_LATENESS,
) -> tuple[Temporal, Fired | None, UpdateOutcome]:
    """Take an event of one or more legs; it completes the window where all legs lie within the timespan.

    Args:
        state: the group's window; an empty one for a new group.
        legs: the event, by the indices of the legs whose conditions it satisfies, with what each keeps of it.
        names: of all legs.
        timespan: ns; it reaches back from the group's newest event.
        lateness: ns.

    Returns:
        The new state; what the window tells where the event is in it and it is complete; what became of the event.
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
    that ends chains ends all that began before it; it does so before it is a step of one itself.

    Args:
        state: the group's window; an empty one for a new group.
        legs: the event, by the indices of the legs whose conditions it satisfies, with what each keeps of it.
        names: of all legs, in order.
        timespan: ns.
        until: the event's key if it ends chains.
        lateness: ns.

    Returns:
        As ``see_leg``.
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
    # From the last leg to the first: one event never is two steps of a chain.
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
