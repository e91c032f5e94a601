"""How far the windows of stateful macros came in a case, for the explanation of an alert that was not raised."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from foundation.quantities import duration_text
from foundation.text import count_of, printable
from processor.correlation.correlator import Correlator
from processor.correlation.groups import Key
from processor.correlation.terms import Truths
from processor.correlation.windows import EventCount, Fired, LegEvent, Ordered, Temporal, UpdateOutcome, ValueCount
from processor.matching.pre_match import PreMatch, parts_of
from processor.rule import Correlation
from processor.splitting import Plan, StatefulMacro, Term

_MOST_GROUPS = 3
_MOST_VALUES = 10
_NOUNS = {"evt.hostname": "host", "user.name": "user", "container.id": "container"}


@dataclass(frozen=True, slots=True)
class _Progress:
    """A window at the time at which most of what it needs was in it."""

    reached: int
    text: str
    first: int
    last: int


@dataclass(slots=True)
class _Group:
    """One group of a macro."""

    best: _Progress | None = None
    rejected: Counter[str] = field(default_factory=Counter)


class WindowLog:
    """Follows the windows of a correlator; of each group, the best window is stored."""

    def __init__(self, correlator: Correlator, plan: Plan, shown_time: Callable[[int], str]) -> None:
        """Observe a correlator. shown_time: how a time of an event, ns, is written."""
        self._correlator = correlator
        self._plan = plan
        self._shown_time = shown_time
        self._macros = {macro.fingerprint: macro for macro in plan.macros}
        self._groups: dict[Key, _Group] = {}
        correlator.observe = self._take

    def _take(self, pre_match: PreMatch, truths: Truths) -> None:
        for fingerprint, truth in truths.items():
            key = (fingerprint, pre_match.group)
            group = self._groups.setdefault(key, _Group())
            if isinstance(truth, UpdateOutcome) and truth is not UpdateOutcome.LEARNING:
                group.rejected[truth.value] += 1
                continue
            now = self._progress(self._macros[fingerprint], key, pre_match, truth)
            if now is not None and (group.best is None or now.reached >= group.best.reached):
                group.best = now

    def _progress(
        self, macro: StatefulMacro, key: Key, pre_match: PreMatch, truth: Fired | UpdateOutcome | None
    ) -> _Progress | None:
        if macro.correlation.kind.remembers_values:
            return self._of_value(macro, key, pre_match, truth)
        entry = self._correlator.store.get(key)
        state = None if entry is None else entry.state
        timespan, needed = macro.correlation.timespan, macro.correlation.threshold
        if isinstance(state, EventCount):
            return _counted(
                [stamp[0] for stamp in state.stamps], timespan, lambda n: f"{n} of {count_of(needed, 'event')}"
            )
        if isinstance(state, ValueCount):
            names = [_value_text(macro, value) for _, value in state.values]
            what = _what(macro, needed)
            return _counted(
                [stamp[0] for stamp, _ in state.values], timespan, lambda n: f"{n} of {what} ({_listed(names[-n:])})"
            )
        legs = macro.correlation.legs
        if isinstance(state, Temporal):
            return _in_any_order(legs, state.legs, timespan)
        if isinstance(state, Ordered):
            return _in_order(legs, state, macro.correlation)
        return None

    def _of_value(
        self, macro: StatefulMacro, key: Key, pre_match: PreMatch, truth: Fired | UpdateOutcome | None
    ) -> _Progress:
        value = next((feed.value for leg in macro.legs for feed in pre_match.feeds if _is_of(leg.terms, feed.term)), "")
        hosts = macro.correlation.threshold if macro.correlation.kind.counts_hosts else 0
        shown = f"{', '.join(macro.correlation.fields)} = {_value_text(macro, value or '')}"
        if hosts:
            shown = f"fewer than {count_of(hosts, 'host')} required"
        if isinstance(truth, Fired):
            new = f"{count_of(truth.count, 'host')} had it, {shown}" if hosts else f"{shown} was new"
            return _Progress(1, new, pre_match.time, pre_match.time)
        if truth is UpdateOutcome.LEARNING:
            until = self._correlator.sightings.learns_until(key)
            shown += f", still learning until {self._shown_time(until)}"
            return _Progress(0, shown, pre_match.time, pre_match.time)
        known = f"more hosts had it, {shown}" if hosts else f"{shown} was already known"
        return _Progress(0, known, pre_match.time, pre_match.time)

    def lines(self, rule: str) -> Iterator[str]:
        """Yield the best windows of each stateful macro of a rule, those on which others depend first."""
        used = {name for each in self._plan.rules if each.name == rule for name in each.macros}
        for macro in reversed(self._plan.macros):
            if macro.fingerprint in used:
                used |= {name for leg in macro.legs for term in leg.terms for name in term.needs | term.forbids}
        for macro in self._plan.macros:
            if macro.fingerprint in used:
                yield from self._lines(macro)

    def _lines(self, macro: StatefulMacro) -> Iterator[str]:
        found = [(group, of) for (owner, group), of in self._groups.items() if owner == macro.fingerprint]
        found.sort(key=lambda pair: -1 if pair[1].best is None else pair[1].best.reached, reverse=True)
        name = printable(macro.name)
        if not found:
            fields = dict.fromkeys(name for leg in macro.legs for name in leg.fields)
            lacking = f" (an event without {' or '.join(fields)} doesn't count)" if fields else ""
            yield f"{name}: no event counted{lacking}"
        for group, of in found[:_MOST_GROUPS]:
            parts = ["nothing counted" if of.best is None else of.best.text]
            parts += [f"group {_group_text(macro.correlation.group_by, group)}"] if group else []
            if of.best is not None and not macro.correlation.kind.remembers_values:
                times = self._shown_time(of.best.first), self._shown_time(of.best.last)
                parts.append(f"window from {times[0]} to {times[1]}")
            parts += [f"{count_of(number, f'{why} event')} left out" for why, number in of.rejected.items()]
            yield f"{name}: {', '.join(parts)}"
        if len(found) > _MOST_GROUPS:
            yield f"{name}: {count_of(len(found) - _MOST_GROUPS, 'more group')}"


def _counted(times: Sequence[int], timespan: int, text: Callable[[int], str]) -> _Progress | None:
    inside = [time for time in times if times[-1] - time <= timespan]
    return _Progress(len(inside), text(len(inside)), inside[0], inside[-1]) if inside else None


def _in_any_order(names: Sequence[str], legs: Sequence[LegEvent | None], timespan: int) -> _Progress | None:
    newest = max((leg.time for leg in legs if leg is not None), default=0)
    came = {
        name: leg.time
        for name, leg in zip(names, legs, strict=False)
        if leg is not None and newest - leg.time <= timespan
    }
    if not came:
        return None
    lacking = [name for name in names if name not in came]
    text = f"{len(came)} of {len(names)} came: {_listed(came)}" + (f"; lacking: {_listed(lacking)}" if lacking else "")
    return _Progress(len(came), text, min(came.values()), newest)


def _in_order(names: Sequence[str], state: Ordered, correlation: Correlation) -> _Progress | None:
    chain: Sequence[LegEvent] = max(state.chains, key=len, default=())
    seen = dict(zip(names, state.newest, strict=False))
    times = [stamp[0] for stamp in state.newest if stamp is not None]
    if not times:
        return None
    text = f"{len(chain)} of {len(names)} steps came" + (f": {_listed(names[: len(chain)])}" if chain else "")
    if len(chain) < len(names):
        step = names[len(chain)]
        text += f"; next would be {printable(step)}"
        if chain and seen.get(step):
            within = duration_text(correlation.timespan)
            text += f", which came, but not after {printable(names[len(chain) - 1])} within {within}"
    if len(state.newest) > len(names) and not chain:
        text += f"; {printable(correlation.until)} ended the sequences before it"
    return _Progress(len(chain), text, chain[0].time if chain else min(times), chain[-1].time if chain else max(times))


def _is_of(terms: Iterable[Term], name: str) -> bool:
    return any(term.id == name for term in terms)


def _what(macro: StatefulMacro, needed: int) -> str:
    correlation = macro.correlation
    if correlation.counts_rules:
        return count_of(needed, "rule")
    if len(correlation.fields) == 1 and correlation.fields[0] in _NOUNS:
        return count_of(needed, _NOUNS[correlation.fields[0]])
    return f"{count_of(needed, 'value')} of {', '.join(correlation.fields)}"


def _value_text(macro: StatefulMacro, value: str) -> str:
    return ", ".join(parts_of(value, len(macro.correlation.fields) or 1))


def _listed(names: Iterable[str] | Mapping[str, int]) -> str:
    shown = [printable(name) for name in names]
    return ", ".join(shown[:_MOST_VALUES]) + (" ..." if len(shown) > _MOST_VALUES else "")


def _group_text(names: Sequence[str], values: Sequence[str | None]) -> str:
    return ", ".join(f"{name} = {printable(value or '<NA>')}" for name, value in zip(names, values, strict=False))
