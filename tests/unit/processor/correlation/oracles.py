"""Windows that retain everything and look through all of it at each event: slow, and easy to verify by reading.

They know nothing of what they evaluate. An event is (time, position, source); the answer to each is late, stale,
or the window's result: None where its condition is not met.
"""

from collections.abc import Iterable, Sequence
from typing import Any

Event = tuple[int, int, int]
LATE, STALE = "late", "stale"


def _is_late(applied: Iterable[Event], event: Event, timespan: int, lateness: int) -> bool:
    return any(other[0] - event[0] > timespan + lateness for other in applied)


def event_count(arrivals: Sequence[tuple[Event, int]], threshold: int, timespan: int, lateness: int) -> list[Any]:
    """Return for each event, which may stand for several, how many are in the window up to the newest, if enough."""
    applied: list[Event] = []
    answers: list[Any] = []
    run = 0
    for event, weight in arrivals:
        if _is_late(applied, event, timespan, lateness):
            answers.append(LATE)
        elif event in applied or sum(other > event for other in applied) >= threshold:
            answers.append(STALE)
        else:
            applied += [event] * weight
            newest = max(applied)[0]
            inside = sum(newest - other[0] <= timespan for other in applied)
            if inside < threshold:
                run = 0
                answers.append(None)
            else:
                run = run + weight if run else inside
                answers.append(run)
    return answers


def value_count(arrivals: Sequence[tuple[Event, str]], threshold: int, timespan: int, lateness: int) -> list[Any]:
    """Return for each event which values were seen last, if enough of them are in the window."""
    applied: list[tuple[Event, str]] = []
    answers: list[Any] = []
    for event, value in arrivals:
        if _is_late([other for other, _ in applied], event, timespan, lateness):
            answers.append(LATE)
            continue
        last = {name: max(other for other, its in applied if its == name) for _, name in applied}
        newer = [name for name, other in last.items() if name != value and other > event]
        if last.get(value, (-1, 0, 0)) >= event or len(newer) >= threshold:
            answers.append(STALE)
            continue
        applied.append((event, value))
        last[value] = event
        newest = max(last.values())[0]
        order = sorted(last, key=lambda name: last[name])
        inside = [name for name in order if newest - last[name][0] <= timespan]
        answers.append(inside[-threshold:] if len(inside) >= threshold else None)
    return answers


def temporal(arrivals: Sequence[tuple[Event, set[int]]], legs: int, timespan: int, lateness: int) -> list[Any]:
    """Return for each event what the newest event of each leg is, if all are in one window."""
    applied: list[tuple[Event, int]] = []
    answers: list[Any] = []
    for event, satisfied in arrivals:
        if _is_late([other for other, _ in applied], event, timespan, lateness):
            answers.append(LATE)
            continue
        fresh = [leg for leg in satisfied if not any(other >= event for other, its in applied if its == leg)]
        if not fresh:
            answers.append(STALE)
            continue
        applied += [(event, leg) for leg in fresh]
        newest = [max((other for other, its in applied if its == leg), default=None) for leg in range(legs)]
        times = [other[0] for other in newest if other is not None]
        met = len(times) == legs and max(times) - min(times) <= timespan
        answers.append(newest if met else None)
    return answers


def ordered(arrivals: Sequence[tuple[Event, set[int]]], legs: int, timespan: int, lateness: int) -> list[Any]:
    """Return for each event which chain it completes: a leg extends the chain that began last.

    An event that satisfies the number after the last leg ends all chains that began before it.
    """
    applied: list[tuple[Event, int]] = []
    chains: list[list[Event]] = []
    answers: list[Any] = []
    for event, satisfied in arrivals:
        if _is_late([other for other, _ in applied], event, timespan, lateness):
            answers.append(LATE)
            continue
        fresh = [leg for leg in satisfied if not any(other >= event for other, its in applied if its == leg)]
        if not fresh:
            answers.append(STALE)
            continue
        made = []
        ends = [other for other, its in (*applied, *((event, leg) for leg in fresh)) if its == legs]
        chains = [chain for chain in chains if not any(end > chain[0] for end in ends)]
        for leg in (leg for leg in fresh if leg < legs):
            if leg == 0:
                made += [] if any(end > event for end in ends) else [[event]]
                continue
            before = [chain for chain in chains if len(chain) == leg]
            latest = max(before, key=lambda chain: chain[0], default=None)
            if latest and latest[-1] != event and latest[-1][0] <= event[0] <= latest[0][0] + timespan:
                made.append([*latest, event])
        applied += [(event, leg) for leg in fresh]
        chains += made
        complete = [chain for chain in made if len(chain) == legs]
        answers.append(complete[0] if complete else None)
    return answers


def first_seen(
    arrivals: Sequence[tuple[int, str, int]], lookback: int, learning: int, most: int, parts: int
) -> list[Any]:
    """Return for each event (identity, value, arrival) whether its value is new, or why that isn't known.

    Times are in parts of the lookback: a value is known for `parts` of them after its newest sighting, and stored for
    eight more.
    """
    part = lookback // parts
    stored: list[tuple[int, str, int]] = []
    firsts: dict[str, int] = {}
    begun = dropped = -1
    now = 0
    answers: list[Any] = []
    for identity, value, arrival in arrivals:
        now = max(now, arrival)
        stored = [each for each in stored if now // part - each[2] // part <= parts + 8]
        if not stored:
            begun = dropped = -1
        begun = arrival if begun < 0 else min(begun, arrival)
        if any(its == value and arrival // part - when // part <= parts for _, its, when in stored):
            if firsts[value] == identity:
                answers.append(STALE)
                continue
            answers.append(False)
        elif value not in {its for _, its, _ in stored} and len({its for _, its, _ in stored}) >= most:
            dropped = max(dropped, arrival)
            answers.append("full")
            continue
        else:
            firsts[value] = identity
            is_blind = dropped >= 0 and arrival // part - dropped // part <= parts
            answers.append("learning" if is_blind or arrival - begun < learning else True)
        stored.append((identity, value, arrival))
    return answers
