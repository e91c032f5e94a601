"""Events that make a stateful macro true: one after the other, worked out from the macro's legs."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from lanner.sigma.cases.witness import Witness, witnesses
from processor.correlation.plan.spec import Correlation
from processor.language.ast import Macro, Node, walk
from processor.loading import LoadResult, Rule

_MOST_EVENTS = 200
_STEP_MS = 10


@dataclass(frozen=True, slots=True)
class Sequence:
    """Events of one case."""

    given: tuple[Mapping[str, Any], ...]
    names: Mapping[str, str] = field(default_factory=dict)


def sequences(rule: Rule, loaded: LoadResult) -> Iterator[Sequence]:
    """Yield events that may make a rule match: single ones, or several for a rule with a correlation.

    Args:
        rule: one of the loaded rules.
        loaded: has the macros that it uses.
    """
    stateful = next((node for node in walk(rule.condition) if _is_stateful(node, loaded)), None)
    if not isinstance(stateful, Macro):
        for each in witnesses(rule.condition):
            yield Sequence((each.given,), each.names)
        return
    correlation = loaded.correlations[stateful.name]
    if correlation.is_temporal:
        yield from _of_legs([loaded.macros[leg].condition for leg in correlation.legs])
    elif correlation.threshold <= _MOST_EVENTS:
        for each in witnesses(stateful.body):
            yield Sequence(tuple(_counted(each, correlation)), each.names)


def _is_stateful(node: Node, loaded: LoadResult) -> bool:
    return isinstance(node, Macro) and node.name in loaded.correlations


def _of_legs(legs: list[Node]) -> Iterator[Sequence]:
    for chosen in zip(*map(witnesses, legs), strict=False):
        names = {name: address for each in chosen for name, address in each.names.items()}
        yield Sequence(tuple(_at(each.given, index) for index, each in enumerate(chosen)), names)


def _counted(witness: Witness, correlation: Correlation) -> Iterator[Mapping[str, Any]]:
    for index in range(correlation.threshold):
        given = witness.given
        for name in correlation.fields:
            given = _varied(given, name, index)
        yield _at(given, index)


def _at(given: Mapping[str, Any], index: int) -> Mapping[str, Any]:
    return {**given, "at": f"{index * _STEP_MS}ms"} if index else given


def _varied(given: Mapping[str, Any], name: str, index: int) -> Mapping[str, Any]:
    """Return an event with another value of a field; the same event for a field that isn't known here."""
    process = given["proc"]
    if name == "fd.name" and name in given:
        return {**given, name: f"{given[name]}{index}"}
    if name == "proc.exeline":
        return {**given, "proc": {**process, "args": [*process.get("args", ()), str(index)]}}
    if name == "user.name":
        return {**given, "proc": {**process, "user": f"user{index}", "uid": 1000 + index}}
    ends = {"fd.sport": ("to", "local"), "fd.cport": ("local", "from")}.get(name, ())
    end = ends[0] if ends and given["evt.type"] == "connect" else ends[-1] if ends else ""
    if end in given:
        address, _, port = given[end].rpartition(":")
        return {**given, end: f"{address}:{(int(port) + index) % 65536}"}
    return given
