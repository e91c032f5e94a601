"""Other times for what is remembered: moves all times of a state by one function, and finds its latest one.

Needed where a clock was wrong: a state that carries a time of the future would hold its window or its repeats until
that comes.
"""

from collections.abc import Callable
from dataclasses import replace

from processor.correlation.notices import Tally
from processor.correlation.pre_match import EventKey
from processor.correlation.state.entry import State
from processor.correlation.windows.counting import EventCount, ValueCount
from processor.correlation.windows.outcome import LegEvent
from processor.correlation.windows.sequences import Ordered, Temporal

Retime = Callable[[int], int]
"""Event time to event time, ns; it never reverses an order."""


def retimed(state: State, retime: Retime) -> State:
    """Return a state with other times; what they belong to stays."""

    def stamped(stamp: EventKey) -> EventKey:
        return (retime(stamp[0]), *stamp[1:])

    def seen(event: LegEvent) -> LegEvent:
        return replace(event, stamp=stamped(event.stamp))

    # Times that were different may be equal now, which changes the order of their keys.
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
    """Return the latest event time in a state, ns; 0 where it holds none."""
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
