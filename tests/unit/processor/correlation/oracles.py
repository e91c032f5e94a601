"""Windows that retain everything and look through all of it at each event: slow, and easy to verify by reading.

They know nothing of what they evaluate. An event is (time, position, source); the answer to each is late, stale,
or the window's result: None where its condition is not met.
"""

from collections import Counter
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
    arrivals: Sequence[tuple[int, str, int, tuple[int, int]]], lookback: int, learning: int, most: int, parts: int
) -> list[Any]:
    """Return for each event (identity, value, arrival, who) whether its value is new, or why that isn't known.

    Who is a host, then its container or user. Times are in parts of the lookback: a value is known for `parts` of them
    after its newest sighting, and stored for eight more.
    """
    part = lookback // parts
    stored: dict[str, tuple[int, tuple[int, int], bool, int]] = {}
    """By value: its first event, who brought it, whether only he knows it, and its newest sighting."""
    overflows: dict[tuple[int, int], int] = {}
    begun = -1
    now = 0
    answers: list[Any] = []

    def is_known(when: int) -> bool:
        return arrival // part - when // part <= parts

    for identity, value, arrival, who in arrivals:
        now = max(now, arrival)
        stored = {each: facts for each, facts in stored.items() if now // part - facts[3] // part <= parts + 8}
        if not stored:
            begun, overflows = -1, {}
        begun = arrival if begun < 0 else min(begun, arrival)
        first, bringer, is_private, seen = stored.get(value, (-1, who, False, -1_000_000))
        if is_known(seen) and first == identity:
            answers.append(STALE)
            continue
        if is_known(seen) and not (is_private and bringer != who):
            if arrival // part > seen // part:
                stored[value] = (first, bringer, is_private, arrival)
            answers.append(False)
            continue
        is_blind = who in overflows and is_known(overflows[who])
        if value not in stored and len(stored) >= most:
            giver = _giver([facts[1] for facts in stored.values()], who)
            if giver is None:
                if not is_blind:
                    overflows[who] = arrival
                answers.append("full")
                continue
            del stored[min((facts[3], each) for each, facts in stored.items() if facts[1] == giver)[1]]
        is_learning = arrival - begun < learning
        stored[value] = (identity, who, is_blind and not is_learning, arrival)
        answers.append("learning" if is_blind or is_learning else True)
    return answers


def _giver(bringers: Sequence[tuple[int, int]], who: tuple[int, int]) -> tuple[int, int] | None:
    """Return whose value goes if a full group gets one more: of the largest host, or of the own one, the largest."""
    sizes = Counter(host for host, _ in bringers)
    host = min(sizes, key=lambda each: (-sizes[each], each))
    if sizes[who[0]] + 1 >= sizes[host]:
        host = who[0]
    own = Counter(each for each in bringers if each[0] == host)
    if not own:
        return None
    largest = min(own, key=lambda each: (-own[each], each))
    return largest if host != who[0] or own[who] + 1 < own[largest] else None
