"""The windows that count: events, or distinct values.

A window belongs to its group: it ends at the group's newest event and reaches back the timespan, both
ends included. It stores the newest N event keys, or the newest key of N values, and no more: these alone
show whether N are in the window.
"""

from bisect import bisect, insort
from dataclasses import dataclass

from processor.correlation.pre_match import EventKey
from processor.correlation.windows.outcome import ALLOWED_LATENESS, Fired, UpdateOutcome, is_late

SHOWN_VALUES = 20


@dataclass(frozen=True, slots=True)
class EventCount:
    """The newest stamps of a group, oldest first."""

    stamps: tuple[EventKey, ...] = ()
    total: int = 0
    """Events in the window; from the threshold on, all events for as long as it stays met."""
    first: int = 0
    """Time of the first of them, ns."""


@dataclass(frozen=True, slots=True)
class ValueCount:
    """The values seen last in a group, each with its newest stamp, oldest first."""

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
    """Count an event, or so many equal ones that came as one.

    Args:
        state: the group's window; an empty one for a new group.
        stamp: the event's.
        timespan: ns.
        threshold: how many events are enough; as many stamps are kept.
        lateness: ns.
        weight: how many events it stands for.

    Returns:
        The new state; what the window tells where the event is in it and it is met; what became of the event.
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
    """Count an event's value if the window doesn't hold it yet.

    Args:
        state: the group's window; an empty one for a new group.
        stamp: the event's.
        value: what is counted.
        timespan: ns.
        threshold: how many distinct values are enough; as many are kept.
        lateness: ns.

    Returns:
        As ``count_event``.
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
