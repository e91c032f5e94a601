"""Evaluates the stateless parts of stateful rules, and finds the events that correlation needs."""

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType
from typing import Any

from bus.connection import fault_text
from processor.compiler.batch import ClassMatcher, compile_rules
from processor.detection.view import BOUNDLESS, BatchBudget, hits_of
from processor.language.ast import Field, Node
from processor.matching.gathered import (
    Gathered,
    RecentlySent,
    RelayRoutes,
    SeenKey,
    group_of,
    stored_fields,
    stored_values,
)
from processor.matching.pre_match import Account, Candidate, Content, EventOrigin, Feed, PreMatch, combined
from processor.matching.shares import BRINGER_FIELDS
from processor.output.formatter import OutputFormat, compile_output, event_row, suggested, values_factory
from processor.output.tokens import OutputError
from processor.rules.splitting import Leg, Plan, StatefulMacro, StatefulRule, Term
from processor.rules.window_tokens import MISSING, BadWindowToken, pieces, without_tokens
from schemas.alert import Value
from schemas.batch import EventBatch
from schemas.catalog.fields import SYSCALL, resolve_field
from schemas.limits import Texts

Admits = Callable[[Account, int, int], bool]
OnFault = Callable[[BaseException], None]
_MAX_TOGETHER = 1_000
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
    homes: tuple[_Fields, ...] = ()
    """If another group decides about the leg, the fields that have its values."""


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


def admit_all(account: Account, now: int, weight: int) -> bool:  # noqa: ARG001  nobody is limited
    """Evaluate all events."""
    return True


@dataclass(frozen=True, slots=True)
class _OneGroup:
    """Terms that hold for one event and have one group: nearly all, and much of a flood."""

    legs: tuple[_LegUse, ...]
    rules: tuple[tuple[int, _RuleUse], ...]
    """With their indexes."""
    size: int
    """Number of the group's fields."""

    @classmethod
    def of(cls, uses: Sequence[tuple[int, "_LegUse | _RuleUse"]]) -> "_OneGroup | None":
        """Return such terms; None if they have several groups, or what is sent depends on more than the event."""
        legs = tuple(use for _, use in uses if isinstance(use, _LegUse))
        rules = tuple((index, use) for index, use in uses if isinstance(use, _RuleUse))
        if not legs or any(use.homes or use.macro.correlation.type == "first_seen" for use in legs):
            return None
        size = len(legs[0].macro.correlation.group_by)
        groups = {use.fields.names[: len(use.macro.correlation.group_by)] for use in legs}
        groups |= {fields.names for _, use in rules for fields in use.groups}
        is_simple = all(use.rule.suppress.by == use.rule.group_by for _, use in rules)
        return cls(legs, rules, size) if is_simple and len(groups) == 1 else None


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
        stored = stored_fields(plan, BRINGER_FIELDS)
        self._uses: list[_LegUse | _RuleUse] = []
        for macro in plan.macros:
            for leg in macro.legs:
                if SYSCALL in leg.sources:
                    self._uses += _leg_uses(macro, leg, stored.get((macro.fingerprint, leg.name), ()))
        for rule in plan.rules:
            if rule.source != SYSCALL:
                continue
            extras = extra_fields.get(rule.name, {})
            is_longer = append_container and rule.name not in bare_outputs
            self._uses += _rule_uses(rule, extras, append_container=is_longer)
        self._one_group: dict[tuple[int, ...], _OneGroup | None] = {}
        """By the indexes of terms that held together for an event."""
        self._recent = RecentlySent(plan)
        self._routes = RelayRoutes(plan)
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

    def process(
        self, batch: EventBatch, budget: BatchBudget | None = None, admits: Admits = admit_all
    ) -> Iterator[PreMatch]:
        """Yield the events of a batch that correlation needs, in order.

        Args:
            batch: a validated batch.
            budget: what the batch may cost, including what was spent before; None for no limits.
            admits: returns whether to evaluate an event, by whoever caused it, when the batch arrived, and its weight.

        Raises:
            OverBudget: it costs more; what was yielded before is valid.
        """
        if not self.matchers:
            return
        budget = BatchBudget(BOUNDLESS) if budget is None else budget
        reading = _Reading(batch, budget)
        rows, repeats = batch.columns["process"], batch.columns["repeats"]
        now = batch.appended or batch.created
        for index, hits in hits_of(batch, self.matchers, self._fault, budget):
            if admits(reading.account(rows[index]), now, 1 + repeats[index]):
                yield from self._pre_matches(reading, index, hits)

    def forget_sent(self, values: Iterable[SeenKey]) -> None:
        """Send values of first_seen again when they come: they were left out."""
        self._recent.forget(values)

    def _fault(self, index: int, problem: BaseException) -> None:
        use = self._uses[index]
        name = use.rule.name if isinstance(use, _RuleUse) else use.macro.name
        self.faults[name] += 1
        self.first_errors.setdefault(name, fault_text(problem))

    def _pre_matches(self, reading: "_Reading", event_index: int, hits: Sequence[tuple[int, int]]) -> list[PreMatch]:
        batch = reading.batch
        quick = self._of_one_group(reading, event_index, hits)
        if quick is not None:
            reading.budget.count_result()
            return [quick]
        found = Gathered(self._recent, self._routes, batch.host_id, batch.appended)
        for use_index, name in hits:
            use = self._uses[use_index]
            try:
                at = (event_index, name)
                if isinstance(use, _LegUse):
                    values = reading.values(use.fields, at)
                    homes = [group_of(reading.values(fields, at)) for fields in use.homes] if use.homes else ()
                    found.feed(use.term, use.macro, use.fields.names, values, use.rule_name, homes=homes)
                else:
                    content = partial(_content, use, reading, at, partial(self._fault, use_index))
                    groups = [
                        found.groups.get(fields.names) or group_of(reading.values(fields, at)) for fields in use.groups
                    ]
                    found.candidate(use.term, use.rule, groups, partial(reading.named, use.by, at), content)
            except Exception as problem:  # noqa: BLE001  an error in one rule must not stop the others
                self._fault(use_index, problem)
        self.counts.update(reason for _, reason in found.missing)
        pre_matches = found.pre_matches(
            reading.origin(event_index),
            batch.columns["time"][event_index],
            batch.hostname,
            reading.account(batch.columns["process"][event_index]),
            is_established=batch.is_established,
            weight=1 + batch.columns["repeats"][event_index],
        )
        for _ in pre_matches:
            reading.budget.count_result()
        found.mark_sent()
        return pre_matches

    def _of_one_group(self, reading: "_Reading", event_index: int, hits: Sequence[tuple[int, int]]) -> PreMatch | None:
        """Return what Gathered would for terms of one group, in a third of its time; None if it has to be asked."""
        which = tuple([use_index for use_index, _ in hits])
        if which in self._one_group:
            known = self._one_group[which]
        elif len(self._one_group) < _MAX_TOGETHER:
            known = self._one_group[which] = _OneGroup.of([(index, self._uses[index]) for index in which])
        else:
            known = None
        name = hits[0][1]
        if known is None or any(other != name for _, other in hits):
            return None
        batch, at = reading.batch, (event_index, name)
        feeds, size, group = [], known.size, None
        try:
            for use in known.legs:
                values = reading.values(use.fields, at)
                if None in values:
                    return None
                group = group_of(values[:size])
                end = size + len(use.macro.correlation.fields)
                value = combined(group_of(values[size:end])) if end > size else use.rule_name  # type: ignore[arg-type]
                stored = stored_values(use.fields.names[end:], values[end:])
                feeds.append(Feed(use.term.id, value, stored))
        except Exception:  # noqa: BLE001  reported there
            return None
        candidates = [
            Candidate(use.term.id, group or (), partial(_content, use, reading, at, partial(self._fault, index)))
            for index, use in known.rules
        ]
        return PreMatch(
            reading.origin(event_index),
            batch.columns["time"][event_index],
            batch.hostname,
            group or (),
            tuple(feeds),
            tuple(candidates),
            batch.appended,
            batch.is_established,
            1 + batch.columns["repeats"][event_index],
            account=reading.account(batch.columns["process"][event_index]),
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
        self._accounts: dict[int, Account] = {}

    def origin(self, index: int) -> EventOrigin:
        """Return what identifies an event. index: in the batch."""
        batch = self.batch
        position = batch.first_index + index
        return EventOrigin(batch.host_id, batch.boot_id, batch.collector_start, batch.sequence, position)

    def account(self, row: int) -> Account:
        """Return whose process a row is.

        A session's user counts, whatever users its programs become: there may be many, as in rootless containers.
        """
        known = self._accounts.get(row)
        if known is None:
            process, containers = self.batch.processes[row], self.batch.containers
            login = process.loginuid if process.loginuid is not None and process.loginuid >= 0 else process.uid
            container = (containers[process.container].full_id or "") if process.container >= 0 else ""
            known = self._accounts[row] = Account(self.batch.host_id, container, "" if login is None else str(login))
        return known

    def values(self, fields: _Fields, at: tuple[int, int]) -> tuple[Any, ...]:
        if not fields.names:
            return ()
        read = self._reads.get(id(fields))
        if read is None:
            read = self._reads[id(fields)] = fields.bind(self.batch)
        return read(*at)

    def named(self, fields: _Fields, at: tuple[int, int]) -> dict[str, Any]:
        return dict(zip(fields.names, self.values(fields, at), strict=True))

    def forms(self, use: _RuleUse) -> list[Callable[[int, int], Any]]:
        forms = self._forms.get(use.rule.name)
        if forms is None:
            forms = self._forms[use.rule.name] = [form.bind(self.batch) for form in use.formats]
        return forms

    def row(self, at: tuple[int, int]) -> dict[str, Any]:
        if self._row is None:
            self._row = event_row(self.batch)
        return self._row(*at)


def _leg_uses(macro: StatefulMacro, leg: Leg, stored: Sequence[str]) -> list[_LegUse | _RuleUse]:
    fields = _Fields.of((*leg.fields, *stored))
    rule_name = leg.name if macro.correlation.counts_rules else None
    homes = tuple(_Fields.of(names) for names in leg.home)
    return [_LegUse(term, macro, fields, rule_name, homes if term.is_stateful else ()) for term in leg.terms]


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
