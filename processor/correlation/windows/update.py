"""Applies one event to a window, whatever its type: the one place that knows all correlation types."""

from collections.abc import Mapping

from processor.correlation.plan.split import StatefulMacro
from processor.correlation.pre_match import Feed, PreMatch
from processor.correlation.windows.counting import EventCount, ValueCount, count_event, count_value
from processor.correlation.windows.outcome import Fired, LegEvent, UpdateOutcome
from processor.correlation.windows.sequences import Ordered, Temporal, extend_chain, see_leg

Window = EventCount | ValueCount | Temporal | Ordered
"""What a window stores, by the type of its macro."""


def update_window(
    macro: StatefulMacro, state: object, pre_match: PreMatch, holding: Mapping[int, Feed], lateness: int
) -> tuple[Window, Fired | None, UpdateOutcome]:
    """Return the window's next state, the window if it is met, and whether it accepted the event.

    Args:
        macro: the stateful macro.
        state: of the group; what is no window of the macro's type counts as none.
        pre_match: the event.
        holding: by leg, the feed that holds for the event.
        lateness: how much older than the window an event may be, ns.
    """
    correlation = macro.correlation
    stamp = pre_match.origin.stamp(pre_match.time)
    timespan, threshold = correlation.timespan, correlation.threshold
    if correlation.type == "event_count":
        count = state if isinstance(state, EventCount) else EventCount()
        return count_event(
            count, stamp, timespan=timespan, threshold=threshold, lateness=lateness, weight=pre_match.weight
        )
    if correlation.type == "value_count":
        values = state if isinstance(state, ValueCount) else ValueCount()
        fired, outcome = None, UpdateOutcome.STALE
        # If rules are counted, an event may match several of them.
        for value in dict.fromkeys(feed.value or "" for feed in holding.values()):
            values, now_fired, taken = count_value(
                values, stamp, value, timespan=timespan, threshold=threshold, lateness=lateness
            )
            fired = now_fired or fired
            outcome = taken if outcome is not UpdateOutcome.TAKEN else outcome
        return values, fired, outcome
    events = {leg: LegEvent(stamp, pre_match.hostname, feed.stored) for leg, feed in holding.items()}
    if correlation.type == "temporal":
        legs = state if isinstance(state, Temporal) else Temporal()
        return see_leg(legs, events, names=correlation.legs, timespan=timespan, lateness=lateness)
    chains = state if isinstance(state, Ordered) else Ordered()
    ends = events.pop(len(correlation.legs), None)
    until = None if ends is None else ends.stamp
    return extend_chain(chains, events, names=correlation.legs, timespan=timespan, until=until, lateness=lateness)
