"""Estimates what rules cost: the event types they enable, the share of each that is sent, and its cause."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Literal

from processor.compiler.simplify import Folded, simplify
from processor.fields.event import argument_text, parameter, raw_argument
from processor.language.ast import Ancestor, And, Node, Not, Or, children, deep
from processor.language.printer import print_condition
from processor.pushdown.checks import BY_DESCRIPTOR
from processor.pushdown.derive import bound, clauses_of
from schemas.batch import EventBatch, EventBit
from schemas.catalog.flags import FLAG_TABLES
from schemas.catalog.system_calls import ATTRIBUTES, PATH_OPENERS
from schemas.filter import CREATE, READ, TRUNCATE, WRITE, Clause, PathPattern, Predicate, PushdownFilter

_OPENS = PATH_OPENERS - {"openat2"}
_FAMILIES = {"unix": 1, "ipv4": 2, "ipv6": 10, "netlink": 16}
_UNCLEAN = ("//", "/.", "..")
_FALCO_TRUNCATE = 256
_U32 = 0xFFFFFFFF


class RecordedEvents:
    """The events of one batch, read as the kernel side reads them."""

    def __init__(self, batch: EventBatch) -> None:
        """Take a validated batch."""
        self._batch = batch
        self._strings = batch.strings
        self._columns = batch.columns

    def event(self, index: int) -> str:
        """Return an event's type."""
        return self._strings[self._columns["type"][index]] or ""

    def passes(self, index: int, clauses: Iterable[Clause]) -> bool:
        """Return whether an event matches any of these clauses, all of its own type."""
        texts: tuple[bytes, ...] | Literal["unread"] | None = "unread"
        for clause in clauses:
            if not all(self._answer(index, predicate) in (None, expected) for predicate, expected in clause.tests):
                continue
            if clause.patterns is None:
                return True
            if texts == "unread":
                texts = self._texts(index)
            prefixes, suffixes = _ends(clause.patterns)
            if texts is None or any((text + b"\0").startswith(prefixes) or text.endswith(suffixes) for text in texts):
                return True
        return False

    def _answer(self, index: int, predicate: Predicate) -> bool | None:
        value = self._subject(index, predicate.subject)
        return None if value is None else (value & predicate.mask) in predicate.values

    def _subject(self, index: int, subject: str) -> int | None:
        columns = self._columns
        if subject == "failed":
            return int(bool(columns["bits"][index] & EventBit.FAILED))
        if subject == "open":
            return self._opened_for(index)
        if subject == "new_setuid":
            return int(bool(columns["bits"][index] & EventBit.OPEN_SETUID))
        if subject == "result":
            return int(columns["res"][index]) if columns["bits"][index] & EventBit.HAS_RES else None
        if subject == "uid":
            return self._batch.processes[columns["process"][index]].uid
        if subject == "family":
            kind = self._strings[columns["fd_type"][index]]
            return None if kind is None else _FAMILIES.get(kind, 0)
        if subject.startswith("arg."):
            return self._argument(index, subject.removeprefix("arg."))
        return None

    def _opened_for(self, index: int) -> int | None:
        event, bits = self.event(index), self._columns["bits"][index]
        if event not in _OPENS:
            return None
        found = READ * bool(bits & EventBit.OPEN_READ) | WRITE * bool(bits & EventBit.OPEN_WRITE)
        flags = raw_argument(self._batch, index, "flags")
        if event == "creat" or not isinstance(flags, int):
            return found | CREATE
        return found | CREATE * bool(flags & (4 | 8192)) | TRUNCATE * bool(flags & _FALCO_TRUNCATE)

    def _argument(self, index: int, name: str) -> int | None:
        """Turn Falco's number back into the kernel's, as far as its table has it."""
        number = raw_argument(self._batch, index, name)
        spec = parameter(self.event(index), name)
        if not isinstance(number, int) or spec is None or spec.info not in FLAG_TABLES:
            return None
        table = FLAG_TABLES[spec.info]
        if table.kind == "flags":
            kernel = 0
            for entry in table.entries:
                if entry.number and entry.kernel and number & entry.number == entry.number:
                    kernel |= entry.kernel
            return kernel
        return next((entry.kernel for entry in table.entries if entry.number == number), number & _U32)

    def _texts(self, index: int) -> tuple[bytes, ...] | None:
        """Return the paths that patterns are compared with; None if one of them lets the event pass by its form."""
        found: dict[str, None] = {}
        for raw, names in self._evaluated(index):
            if raw is None or raw.endswith("/") or any(part in raw for part in _UNCLEAN):
                return None
            found |= dict.fromkeys(name or "" for name in names if name is not None)
        return tuple(name.encode("utf-8", "surrogateescape") for name in found)

    def _evaluated(self, index: int) -> Iterator[tuple[str | None, tuple[str | None, ...]]]:
        """Yield each text of the call that the kernel evaluates, as it was requested, with its other forms."""

        def text(column: str) -> str | None:
            return self._strings[self._columns[column][index]]

        event = self.event(index)
        roles = [role for role in ("name", "source", "target") if self._columns[f"path_{role}"][index]]
        if event in ATTRIBUTES:
            name = argument_text(self._batch, index, "name")
            yield name, (name,)
        elif event in BY_DESCRIPTOR:
            yield text("fd_name"), (text("fd_name"),)
        elif not roles:
            yield text("fd_name_raw"), (text("fd_name"), text("fd_realpath"))
        else:
            for role in roles:
                yield text(f"path_{role}_raw"), (text(f"path_{role}"),)


@cache
def _ends(patterns: frozenset[PathPattern]) -> tuple[tuple[bytes, ...], tuple[bytes, ...]]:
    """Return the beginnings and the ends of paths that match."""
    return tuple(tuple(each.text for each in patterns if each.is_prefix is kind) for kind in (True, False))  # type: ignore[return-value]


@cache
def _merged(clauses: frozenset[Clause]) -> Mapping[str, Sequence[Clause]]:
    """Return clauses by event type; those with the same tests are one."""
    patterns: dict[tuple[str, frozenset[tuple[Predicate, bool]]], frozenset[PathPattern] | None] = {}
    for clause in clauses:
        key = clause.event, clause.tests
        known = patterns.get(key, frozenset())
        patterns[key] = None if known is None or clause.patterns is None else known | clause.patterns
    found: dict[str, list[Clause]] = {}
    for (event, tests), either in patterns.items():
        found.setdefault(event, []).append(Clause(event, tests, either))
    return found


def passing(batch: EventBatch, pushdown_filter: PushdownFilter) -> list[int]:
    """Return the indexes of a batch's events that pass a filter."""
    clauses = _merged(pushdown_filter.clauses)
    recorded = RecordedEvents(batch)
    return [index for index in range(batch.count) if recorded.passes(index, clauses.get(recorded.event(index), ()))]


@dataclass(frozen=True, slots=True)
class EventTypeCost:
    """The requirements of one rule for one event type."""

    rule: str
    clauses: tuple[Clause, ...]
    """Empty: none of these events could match it."""
    widest: str
    """The part of its condition that the kernel can't evaluate; empty if the kernel can drop some events."""

    @property
    def takes_all(self) -> bool:
        """True if every event of the type has to be sent for this rule."""
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
        events: the event types for which any of them is evaluated.
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
        inner: Sequence[Node] = () if isinstance(node, Ancestor) else children(node)
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
