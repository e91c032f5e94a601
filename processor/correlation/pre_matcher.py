"""Evaluates the stateless parts of stateful rules, and finds the events that correlation needs."""

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from types import MappingProxyType
from typing import Any

from bus.errors.unavailable import fault_text
from processor.compiler.batch import ClassMatcher, compile_rules
from processor.compiler.values.transformers import as_text
from processor.correlation.first_seen.recent import RecentlySent, SeenKey
from processor.correlation.plan.split import Leg, Plan, StatefulMacro, StatefulRule, Term
from processor.correlation.pre_match import Candidate, Content, EventOrigin, Feed, Group, PreMatch, clipped, combined
from processor.correlation.window_fields import MISSING, BadWindowToken, pieces, without_tokens
from processor.detection.budget import BOUNDLESS, BatchBudget, hits_of
from processor.language.ast import Field, Node
from processor.output.event_row import event_row
from processor.output.formatter import OutputFormat, compile_output, suggested, values_factory
from processor.output.tokens import OutputError
from schemas.alert import Value
from schemas.batch import EventBatch
from schemas.catalogue.fields import resolve_field
from schemas.text.limits import Texts, clipped_values

GROUP_MISSING = "group_missing"
"""Events rejected because they lack a group field."""
VALUE_MISSING = "value_missing"
"""Events rejected because they lack the field whose values are counted."""

MAX_STORED_BYTES = 4 << 10
"""Limit of a field value stored in a window for its output: each record of its state repeats it."""
OnFault = Callable[[BaseException], None]
Read = Callable[[int, int], tuple[Any, ...]]


@dataclass(frozen=True, slots=True)
class _Fields:
    """Several fields, read at once."""

    names: tuple[str, ...]
    bind: Callable[[EventBatch], Read]

    @classmethod
    def of(cls, names: Sequence[str]) -> "_Fields":
        return cls(tuple(names), values_factory(_field(name) for name in names))


def _field(text: str) -> Field:
    found = resolve_field(text)
    if found is None:
        raise ValueError(f"unknown field '{text}'")
    return Field(found[0].name, found[1])


@dataclass(frozen=True, slots=True)
class _LegUse:
    term: Term
    macro: StatefulMacro
    fields: _Fields
    """Fields of the group, then the counted one, then those that are stored."""
    rule_name: str | None = None
    """The value that is counted, if rules are."""


@dataclass(frozen=True, slots=True)
class _RuleUse:
    term: Term
    rule: StatefulRule
    groups: tuple[_Fields, ...]
    by: _Fields
    """Those of suppress.by that the group doesn't give."""
    formats: tuple[OutputFormat, ...]
    extras: tuple[tuple[str, bool, OutputFormat], ...]
    """More output fields: name, whether it is a field's own value and not a text, and the format that gives it."""


class PreMatcher:
    """The stateless terms of a plan, compiled."""

    def __init__(
        self,
        plan: Plan,
        *,
        append_container: bool = True,
        bare_outputs: Collection[str] = (),
        extra_fields: Mapping[str, Mapping[str, str | None]] = MappingProxyType({}),
    ) -> None:
        """Compile all terms.

        Args:
            plan: which terms there are, and whose.
            append_container: append container and pod to each output that does not name them.
            bare_outputs: the rules to whose outputs nothing is appended.
            extra_fields: by rule, output fields that its text doesn't name: name to format, None for the field itself.

        Raises:
            OutputError: a rule's output cannot be read.
        """
        stored = stored_fields(plan)
        self._uses: list[_LegUse | _RuleUse] = []
        for macro in plan.macros:
            for leg in macro.legs:
                self._uses += _leg_uses(macro, leg, stored.get((macro.fingerprint, leg.name), ()))
        for rule in plan.rules:
            extras = extra_fields.get(rule.name, {})
            is_longer = append_container and rule.name not in bare_outputs
            self._uses += _rule_uses(rule, extras, append_container=is_longer)
        self._recent = RecentlySent(plan)
        self.conditions: tuple[Node, ...] = tuple(use.term.condition for use in self._uses)
        """The evaluated conditions, from which the pushdown filter is derived."""
        conditions = self.conditions
        self.matchers: Mapping[str, ClassMatcher] = compile_rules(conditions).matchers if conditions else {}
        """By event type."""
        self.event_types: frozenset[str] = frozenset(self.matchers)
        """The event types for which a term can hold: the collector must collect them."""
        self.counts: Counter[str] = Counter()
        """Events that could not be counted, by reason."""
        self.faults: Counter[str] = Counter()
        """Faults by rule or macro: how often evaluating it or formatting its output raised."""
        self.first_errors: dict[str, str] = {}
        """The first error of each that raised."""

    def process(self, batch: EventBatch, budget: BatchBudget | None = None) -> Iterator[PreMatch]:
        """Yield the events of a batch that correlation needs, in order.

        Args:
            batch: a validated batch.
            budget: what the batch may cost, including what was spent before; None for no limits.

        Raises:
            OverBudget: it costs more; what was yielded before is valid.
        """
        if not self.matchers:
            return
        budget = BatchBudget(BOUNDLESS) if budget is None else budget
        reading = _Reading(batch, budget)
        for index, hits in hits_of(batch, self.matchers, self._fault, budget):
            yield from self._pre_matches(reading, index, hits)

    def _fault(self, index: int, problem: BaseException) -> None:
        use = self._uses[index]
        name = use.rule.name if isinstance(use, _RuleUse) else use.macro.name
        self.faults[name] += 1
        self.first_errors.setdefault(name, fault_text(problem))

    def _pre_matches(self, reading: "_Reading", event_index: int, hits: Iterable[tuple[int, int]]) -> list[PreMatch]:
        found = _Gathered(self._recent)
        for use_index, name in hits:
            use = self._uses[use_index]
            try:
                if isinstance(use, _LegUse):
                    _feed(use, reading, (event_index, name), found)
                else:
                    _candidate(use, reading, (event_index, name), found, partial(self._fault, use_index))
            except Exception as problem:  # noqa: BLE001  an error in one rule must not stop the others
                self._fault(use_index, problem)
        self.counts.update(reason for _, reason in found.missing)
        pre_matches = found.pre_matches(reading.batch, event_index)
        for _ in pre_matches:
            reading.budget.count_result()
        self._recent.mark(found.fresh, reading.batch.appended)
        return pre_matches


@dataclass(slots=True)
class _Gathered:
    """What one event gives, by group."""

    recent: RecentlySent
    feeds: dict[Group, list[Feed]] = field(default_factory=dict)
    candidates: dict[Group, list[Candidate]] = field(default_factory=dict)
    missing: set[tuple[str, str]] = field(default_factory=set)
    """Macros that could not count the event, and why: once each, however many terms hold."""
    known: set[tuple[str, Group]] = field(default_factory=set)
    """Macros of type first_seen that are false in a group, which needs no message."""
    fresh: list[SeenKey] = field(default_factory=list)
    """The values that are sent."""

    def is_over(self, term: Term, group: Group) -> bool:
        """Return whether a term can't hold: a macro that it needs is false."""
        return bool(self.known) and any((name, group) in self.known for name in term.needs)

    def pre_matches(self, batch: EventBatch, index: int) -> list[PreMatch]:
        position = batch.first_index + index
        origin = EventOrigin(batch.host_id, batch.boot_id, batch.collector_start, batch.sequence, position)
        groups = dict.fromkeys((*self.feeds, *self.candidates))
        return [
            PreMatch(
                origin,
                batch.columns["time"][index],
                batch.hostname,
                group,
                tuple(self.feeds.get(group, ())),
                tuple(self.candidates.get(group, ())),
                batch.appended,
                batch.is_established,
                1 + batch.columns["repeats"][index],
            )
            for group in groups
        ]


def _feed(use: _LegUse, reading: "_Reading", at: tuple[int, int], found: _Gathered) -> None:
    values = reading.values(use.fields, at)
    size = len(use.macro.correlation.group_by)
    group = _group(values[:size])
    if None in group:
        found.missing.add((use.macro.fingerprint, GROUP_MISSING))
        return
    value = use.rule_name
    if count := len(use.macro.correlation.fields):
        counted = _group(values[size : size + count])
        if None in counted:
            found.missing.add((use.macro.fingerprint, VALUE_MISSING))
            return
        value = combined([each or "" for each in counted])
        size += count
        if use.macro.correlation.type == "first_seen":
            key = (use.macro.fingerprint, group, value)
            if found.recent.covers(key, reading.batch.appended):
                found.known.add(key[:2])
                return
            found.fresh.append(key)
    if found.is_over(use.term, group):
        return
    stored = clipped_values(dict(zip(use.fields.names[size:], values[size:], strict=True)), MAX_STORED_BYTES)
    found.feeds.setdefault(group, []).append(Feed(use.term.id, value, stored))


def _candidate(use: _RuleUse, reading: "_Reading", at: tuple[int, int], found: _Gathered, on_fault: OnFault) -> None:
    groups = dict.fromkeys(_group(reading.values(fields, at)) for fields in use.groups)
    # Where a window has to be met, an event without a group met none; a rule that is only throttled fires all the same.
    possible = [group for group in groups if None not in group or not use.term.needs]
    possible = [group for group in possible if not found.is_over(use.term, group)]
    if not possible:
        return
    own = dict(zip(use.by.names, _group(reading.values(use.by, at)), strict=True))
    for group in possible:
        of_group = dict(zip(use.rule.group_by, group, strict=True))
        by = tuple(of_group[name] if name in of_group else own[name] for name in use.rule.suppress.by)
        found.candidates.setdefault(group, []).append(
            Candidate(use.term.id, by, lambda: _content(use, reading, at, on_fault))
        )


def _content(use: _RuleUse, reading: "_Reading", at: tuple[int, int], on_fault: OnFault) -> Content:
    try:
        rendered = [form(*at) for form in reading.forms(use)]
        fields: dict[str, Value] = {}
        for part in rendered:
            fields.update(part.fields)
        for key, is_field, form in use.extras:
            extra = form.bind(reading.batch)(*at)
            fields |= extra.fields if is_field else {key: extra.text}
        texts = reading.budget.fitted(Texts(tuple(part.text for part in rendered), fields, reading.row(at)))
        return Content(texts.texts, texts.fields, texts.event)
    except Exception as problem:  # noqa: BLE001  an alert without content is better than none
        on_fault(problem)
        return Content((MISSING,) * len(use.formats), {}, {})


class _Reading:
    """The field readers of one batch, made on first use."""

    def __init__(self, batch: EventBatch, budget: BatchBudget) -> None:
        self.batch = batch
        self.budget = budget
        self._reads: dict[int, Read] = {}
        self._forms: dict[str, list[Callable[[int, int], Any]]] = {}
        self._row: Callable[[int, int], dict[str, Any]] | None = None

    def values(self, fields: _Fields, at: tuple[int, int]) -> tuple[Any, ...]:
        if not fields.names:
            return ()
        read = self._reads.get(id(fields))
        if read is None:
            read = self._reads[id(fields)] = fields.bind(self.batch)
        return read(*at)

    def forms(self, use: _RuleUse) -> list[Callable[[int, int], Any]]:
        forms = self._forms.get(use.rule.name)
        if forms is None:
            forms = self._forms[use.rule.name] = [form.bind(self.batch) for form in use.formats]
        return forms

    def row(self, at: tuple[int, int]) -> dict[str, Any]:
        if self._row is None:
            self._row = event_row(self.batch)
        return self._row(*at)


def _group(values: Iterable[Any]) -> Group:
    return tuple(None if value is None else clipped(as_text(value)) for value in values)


def _leg_uses(macro: StatefulMacro, leg: Leg, stored: Sequence[str]) -> list[_LegUse | _RuleUse]:
    fields = _Fields.of((*leg.fields, *stored))
    rule_name = leg.name if macro.correlation.counts_rules else None
    return [_LegUse(term, macro, fields, rule_name) for term in leg.terms]


def _rule_uses(
    rule: StatefulRule, extra_fields: Mapping[str, str | None], *, append_container: bool
) -> list[_LegUse | _RuleUse]:
    groups = tuple(_Fields.of(names) for names in rule.group_fields)
    by = _Fields.of([name for name in rule.suppress.by if name not in rule.group_by])
    try:
        first, *others = pieces(rule.output)[0]
    except BadWindowToken as problem:
        raise OutputError(problem.message, problem.span) from None
    # compile_output() drops an asterisk at the beginning.
    *texts, last = (first, *(f"*{text}" for text in others))
    appended = suggested(without_tokens(rule.output)) if append_container else {}
    formats = (
        *(compile_output(text, transformers=False) for text in texts),
        compile_output(last, appended, transformers=False),
    )
    extras = tuple(
        (key, form is None, compile_output(f"%{key}" if form is None else form)) for key, form in extra_fields.items()
    )
    return [_RuleUse(term, rule, groups, by, formats, extras) for term in rule.terms]


def stored_fields(plan: Plan) -> Mapping[tuple[str, str], tuple[str, ...]]:
    """Return the fields of each leg's events that outputs name.

    Args:
        plan: rules and macros.

    Returns:
        By fingerprint of the macro and name of the leg.
    """
    macros = {macro.fingerprint: macro for macro in plan.macros}
    found: dict[tuple[str, str], dict[str, None]] = {}
    for rule in plan.rules:
        for token in pieces(rule.output)[1]:
            for fingerprint in rule.macros if token.what == "leg" else ():
                if token.leg in macros[fingerprint].correlation.legs:
                    found.setdefault((fingerprint, token.leg), {})[token.field] = None
    return {key: tuple(fields) for key, fields in found.items()}
