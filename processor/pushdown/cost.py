"""Estimates what rules cost: the event types they enable, the share of each that is sent, and its cause."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from processor.compiler.recursion import deep
from processor.compiler.simplify import Folded, simplify
from processor.language.ast import And, Node, Not, Or, children
from processor.language.printer import print_condition
from processor.pushdown.derive import bound, clauses_of
from processor.pushdown.recorded import RecordedEvents
from schemas.batch import EventBatch
from schemas.filter import Clause


@dataclass(frozen=True, slots=True)
class EventTypeCost:
    """What one rule requires of one event type."""

    rule: str
    clauses: tuple[Clause, ...]
    """Empty: none of these events could match it."""
    widest: str
    """The part of its condition that the kernel can't evaluate; empty if the kernel can drop some events."""

    @property
    def takes_all(self) -> bool:
        """Whether every event of the type has to be sent for this rule."""
        return any(not clause.tests and clause.patterns is None for clause in self.clauses)


@dataclass(slots=True)
class EventTypeCounts:
    """Counts of one event type over a recording."""

    seen: int = 0
    sent: int = 0
    by_rule: Counter[str] = field(default_factory=Counter)


def shares(rules: Sequence[tuple[str, Node]], events: Sequence[str]) -> dict[str, list[EventTypeCost]]:
    """Return, by event type, what each rule requires; rules that none of its events could match are left out.

    Args:
        rules: names and conditions, macros resolved.
        events: the event types that any of them is judged for.
    """
    with deep():
        found = {event: [_share(name, condition, event) for name, condition in rules] for event in events}
    return {
        event: selected for event, each in found.items() if (selected := [share for share in each if share.clauses])
    }


def _share(name: str, condition: Node, event: str) -> EventTypeCost:
    folded = simplify(condition, event)
    share = EventTypeCost(name, clauses_of(condition, event), "")
    return EventTypeCost(name, share.clauses, _widest(folded, event)) if share.takes_all else share


def _widest(folded: Folded, event: str) -> str:
    """Find the smallest part that the kernel can't evaluate."""
    if isinstance(folded, bool):
        return f"evt.type = {event}"
    node: Node = folded
    is_upper = True
    while True:
        inner: Sequence[Node] = children(node)
        if isinstance(node, And | Or):
            open_ended = isinstance(node, Or) == is_upper
            inner = [each for each in inner if open_ended and Clause(event) in bound(each, event, is_upper=is_upper)]
        elif isinstance(node, Not):
            is_upper = not is_upper
        if not inner:
            return print_condition(node if is_upper else Not(node))
        node = inner[0]


def count(
    batches: Iterable[EventBatch], costs: Mapping[str, Sequence[EventTypeCost]], counts: dict[str, EventTypeCounts]
) -> None:
    """Evaluate recorded events and add to the counts.

    Args:
        batches: recorded without pushdown.
        costs: as shares gives it.
        counts: by event type; added to.
    """
    clauses = {event: {share.rule: share.clauses for share in each} for event, each in costs.items()}
    for batch in batches:
        events = RecordedEvents(batch)
        for index in range(batch.count):
            event = events.event(index)
            if event not in clauses:
                continue
            of_event = counts.setdefault(event, EventTypeCounts())
            of_event.seen += 1
            takers = [rule for rule, each in clauses[event].items() if events.passes(index, each)]
            of_event.sent += bool(takers)
            of_event.by_rule.update(takers)
