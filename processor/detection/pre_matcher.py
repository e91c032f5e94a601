"""Evaluates the stateless parts of stateful rules, and finds the events that correlation needs."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

from bus.connection import fault_text
from processor.compiler.batch import Hit, compile_rules
from processor.detection.budget import BOUNDLESS, Budget
from processor.detection.view import At, EventView, ExtraFields, extra_fields, read_extra
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
from processor.matching.pre_match import Account, Candidate, Content, Feed, PreMatch, combined
from processor.matching.shares import BRINGER_FIELDS, JSON_BRINGER_FIELDS
from processor.output.formatter import OutputFormat, Read, binding_of, compile_output, indicator_checks, suggested
from processor.output.tokens import OutputError
from processor.rule import (
    DEFAULT_OPTIONS,
    MISSING,
    BadWindowToken,
    RulesetOptions,
    output_pieces,
    without_window_tokens,
)
from processor.splitting import Leg, Plan, StatefulMacro, StatefulRule, Term
from schemas.alert import Value
from schemas.catalog.fields import SYSCALL, resolve_field
from schemas.limits import Texts

Admits = Callable[[Account, int, int], bool]
OnFault = Callable[[BaseException], None]
_MAX_TOGETHER = 1_000
_SYSCALLS = frozenset({SYSCALL})


@dataclass(frozen=True, slots=True)
class Fields:
    """Several fields, read at once."""

    names: tuple[str, ...]
    bind: Callable[[Any], Read]

    @classmethod
    def of(cls, names: Sequence[str], source: str) -> "Fields":
        """Return a reader of fields of the events of a source."""
        bind = binding_of(source).reader(map(_field, names), ())
        return cls(tuple(names), bind if source == SYSCALL else _without_empty(bind))


def _without_empty(bind: Callable[[Any], Read]) -> Callable[[Any], Read]:
    """Return a reader of documents that gives no value for a list without elements: there is none to group by."""

    def bound(document: Any) -> Read:
        read = bind(document)
        return lambda index, name: tuple(None if value == () else value for value in read(index, name))

    return bound


def _field(text: str) -> Field:
    found = resolve_field(text)
    if found is None:
        raise ValueError(f"unknown field '{text}'")
    return Field(found[0].name, found[1])


@dataclass(frozen=True, slots=True)
class _LegUse:
    term: Term
    sources: frozenset[str]
    macro: StatefulMacro
    fields: Fields
    """Fields of the group, then the counted one, then those that are stored."""
    rule_name: str | None = None
    """The value that is counted, if rules are."""
    homes: tuple[Fields, ...] = ()
    """If another group decides about the leg, the fields that have its values."""


@dataclass(frozen=True, slots=True)
class _RuleUse:
    term: Term
    sources: frozenset[str]
    rule: StatefulRule
    groups: tuple[Fields, ...]
    by: Fields
    """The fields of suppress.by that the group doesn't have."""
    formats: tuple[OutputFormat, ...]
    extras: ExtraFields


def admit_all(account: Account, now: int, weight: int) -> bool:  # noqa: ARG001  nobody is limited
    """Evaluate all events."""
    return True


@dataclass(frozen=True, slots=True)
class _OneGroup:
    """Terms that are true of one event and have one group: nearly all, and much of a flood."""

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
        if not legs or any(use.homes or use.macro.correlation.kind.remembers_values for use in legs):
            return None
        size = len(legs[0].macro.correlation.group_by)
        groups = {use.fields.names[: len(use.macro.correlation.group_by)] for use in legs}
        groups |= {fields.names for _, use in rules for fields in use.groups}
        is_simple = all(use.rule.suppress.by == use.rule.group_by for _, use in rules)
        return cls(legs, rules, size) if is_simple and len(groups) == 1 else None


class PreMatcher:
    """The stateless terms of a plan, compiled."""

    def __init__(self, plan: Plan, options: RulesetOptions = DEFAULT_OPTIONS) -> None:
        """Compile all terms.

        Args:
            plan: which terms there are, and whose.
            options: how outputs are completed.

        Raises:
            OutputError: a rule's output cannot be read.
        """
        self._uses: list[_LegUse | _RuleUse] = []
        of_batches, of_documents = (stored_fields(plan, each) for each in (BRINGER_FIELDS, JSON_BRINGER_FIELDS))
        for macro in plan.macros:
            for leg in macro.legs:
                for sources, stored in ((leg.sources & _SYSCALLS, of_batches), (leg.sources - _SYSCALLS, of_documents)):
                    if sources:
                        self._uses += _leg_uses(macro, leg, sources, stored.get((macro.fingerprint, leg.name), ()))
        for rule in plan.rules:
            extras = options.extra_fields.get(rule.name, {})
            self._uses += _rule_uses(rule, extras, append_container=options.appends_container(rule.name, rule.source))
        self._one_group: dict[tuple[int, ...], _OneGroup | None] = {}
        """By the indexes of terms that were true together of an event."""
        self._counts_hosts = any(macro.correlation.kind.counts_hosts for macro in plan.macros)
        self._recent = RecentlySent(plan)
        self._routes = RelayRoutes(plan)
        self.conditions: tuple[Node, ...] = tuple(use.term.condition for use in self._uses if SYSCALL in use.sources)
        """The conditions on system calls, from which the pushdown filter is derived."""
        self.sources = frozenset[str]().union(*(use.sources for use in self._uses))
        """The sources whose events matter to any term."""
        self.compiled = compile_rules(
            [use.term.condition for use in self._uses],
            [use.sources for use in self._uses],
            None if options.classes is None else options.classes[1],
        )
        self.event_types: frozenset[str] = frozenset(self.compiled.matchers)
        """The event types for which a term can be true: the collector must collect them."""
        self.counts: Counter[str] = Counter()
        """Events that could not be counted, by reason."""
        self.faults: Counter[str] = Counter()
        """Faults by rule or macro: how often evaluating it or formatting its output raised."""
        self.first_errors: dict[str, str] = {}
        """The first error of each that raised."""

    def process(self, view: EventView, budget: Budget | None = None, admits: Admits = admit_all) -> Iterator[PreMatch]:
        """Yield the events of a batch or document that correlation needs, in order.

        Args:
            view: the events.
            budget: what they may cost, including what was spent before; None for no limits.
            admits: returns whether to evaluate an event, by whoever caused it, when it arrived, and its weight.

        Raises:
            OverBudget: they cost more; what was yielded before is valid.
        """
        if view.source not in self.sources:
            return
        reading = _Reading(view, Budget(BOUNDLESS) if budget is None else budget)
        for index, hits in view.hits(self.compiled, self._fault, reading.budget):
            found = tuple(hits)
            if found and admits(view.account(index), view.received, view.weight(index)):
                yield from self._pre_matches(reading, index, found)

    def forget_sent(self, values: Iterable[SeenKey]) -> None:
        """Send values of first_seen again when they come: they were left out."""
        self._recent.forget(values)

    def _fault(self, index: int, problem: BaseException) -> None:
        use = self._uses[index]
        name = use.rule.name if isinstance(use, _RuleUse) else use.macro.name
        self.faults[name] += 1
        self.first_errors.setdefault(name, fault_text(problem))

    def _pre_matches(self, reading: "_Reading", index: int, hits: Sequence[Hit]) -> list[PreMatch]:
        view = reading.view
        quick = self._of_one_group(reading, index, hits)
        if quick is not None:
            reading.budget.count_result()
            return [quick]
        origin = view.origin(index)
        matching: tuple[str, ...] = ()
        if self._counts_hosts:
            uses = [self._uses[use_index] for use_index, _ in hits]
            matching = tuple(sorted({use.term.id for use in uses if isinstance(use, _RuleUse)}))
        found = Gathered(self._recent, self._routes, origin.host_id, view.appended, matching)
        for use_index, name in hits:
            use = self._uses[use_index]
            try:
                at = (index, name)
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
            origin,
            view.time(index),
            view.hostname,
            view.account(index),
            is_established=view.is_established,
            weight=view.weight(index),
        )
        for _ in pre_matches:
            reading.budget.count_result()
        self._recent.mark(found.fresh, view.appended)
        return pre_matches

    def _of_one_group(self, reading: "_Reading", index: int, hits: Sequence[Hit]) -> PreMatch | None:
        """Return what Gathered would for terms of one group, in a third of its time; None if it has to be asked."""
        which = tuple([use_index for use_index, _ in hits])
        if which in self._one_group:
            known = self._one_group[which]
        elif len(self._one_group) < _MAX_TOGETHER:
            known = self._one_group[which] = _OneGroup.of([(each, self._uses[each]) for each in which])
        else:
            known = None
        name = hits[0][1]
        if known is None or any(other != name for _, other in hits):
            return None
        view, at = reading.view, (index, name)
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
            Candidate(use.term.id, group or (), partial(_content, use, reading, at, partial(self._fault, use_index)))
            for use_index, use in known.rules
        ]
        return PreMatch(
            view.origin(index),
            view.time(index),
            view.hostname,
            group or (),
            tuple(feeds),
            tuple(candidates),
            view.appended,
            view.is_established,
            view.weight(index),
            account=view.account(index),
        )


def _content(use: _RuleUse, reading: "_Reading", at: At, on_fault: OnFault) -> Content:
    view = reading.view
    try:
        rendered = [view.read(form, at) for form in use.formats]
        fields: dict[str, Value] = {}
        for part in rendered:
            fields.update(part.fields)
        whole = read_extra(view, use.extras, at, fields)
        texts = reading.budget.fitted(Texts(tuple(part.text for part in rendered), whole, view.row(at)))
        return Content(texts.texts, texts.fields, texts.event)
    except Exception as problem:  # noqa: BLE001  an alert without content is better than none
        on_fault(problem)
        return Content((MISSING,) * len(use.formats), {}, {})


class _Reading(NamedTuple):
    """Events, and what they may cost."""

    view: EventView
    budget: Budget

    def values(self, fields: Fields, at: At) -> tuple[Any, ...]:
        return self.view.read(fields, at) if fields.names else ()

    def named(self, fields: Fields, at: At) -> dict[str, Any]:
        return dict(zip(fields.names, self.values(fields, at), strict=True))


def _leg_uses(
    macro: StatefulMacro, leg: Leg, sources: frozenset[str], stored: Sequence[str]
) -> list[_LegUse | _RuleUse]:
    source = min(sources)
    fields = Fields.of((*leg.fields, *stored), source)
    rule_name = leg.name if macro.correlation.counts_rules else None
    homes = tuple(Fields.of(names, source) for names in leg.home)
    return [_LegUse(term, sources, macro, fields, rule_name, homes if term.is_stateful else ()) for term in leg.terms]


def _rule_uses(
    rule: StatefulRule, extra: Mapping[str, str | None], *, append_container: bool
) -> list[_LegUse | _RuleUse]:
    source = rule.source
    groups = tuple(Fields.of(names, source) for names in rule.group_fields)
    by = Fields.of([name for name in rule.suppress.by if name not in rule.group_by], source)
    try:
        first, *others = output_pieces(rule.output)[0]
    except BadWindowToken as problem:
        raise OutputError(problem.message, problem.span) from None
    # compile_output() drops an asterisk at the beginning.
    *texts, last = (first, *(f"*{text}" for text in others))
    appended = suggested(without_window_tokens(rule.output)) if append_container else {}
    extras = extra_fields(extra, source)

    def use(term: Term) -> _RuleUse:
        found = indicator_checks(term.condition)
        formats = (
            *(compile_output(text, transformers=False, source=source) for text in texts),
            compile_output(last, appended, transformers=False, source=source, found=found),
        )
        return _RuleUse(term, frozenset({source}), rule, groups, by, formats, extras)

    return list(map(use, rule.terms))
