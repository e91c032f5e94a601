"""Evaluates the stateless parts of stateful rules on events that are JSON; system calls have the PreMatcher."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from hashlib import blake2b
from types import MappingProxyType
from typing import Any

from processor.compiler.mapping import compile_items
from processor.fields.json.documents import AuditFields
from processor.matching.gathered import Gathered, RecentlySent, RelayRoutes, SeenKey, group_of, stored_fields
from processor.matching.pre_match import Account, Content, EventOrigin, PreMatch
from processor.matching.shares import JSON_BRINGER_FIELDS
from processor.output.formatter import Rendered, compile_output
from processor.output.tokens import OutputError
from processor.rules.splitting import Leg, Plan, StatefulMacro, StatefulRule, Term
from processor.rules.window_tokens import MISSING, BadWindowToken, pieces
from schemas.alert import Value
from schemas.catalog.fields import SYSCALL

Render = Callable[[AuditFields], Rendered]


@dataclass(frozen=True, slots=True)
class _LegUse:
    term: Term
    matches: Callable[[AuditFields], bool]
    macro: StatefulMacro
    fields: tuple[str, ...]
    """Fields of the group, then the counted ones, then those that are stored."""
    rule_name: str | None
    homes: tuple[tuple[str, ...], ...]
    """If another group decides about the leg, the fields that have its values."""


@dataclass(frozen=True, slots=True)
class _RuleUse:
    term: Term
    matches: Callable[[AuditFields], bool]
    rule: StatefulRule
    by: tuple[str, ...]
    """Those of suppress.by that the group doesn't give."""
    formats: tuple[Render, ...]
    extras: tuple[tuple[str, bool, Render], ...]
    """More output fields: name, whether it is a field's own value and not a text, and what formats it."""


class JsonPreMatcher:
    """The terms of a plan that events of JSON can satisfy, compiled."""

    def __init__(
        self,
        plan: Plan,
        on_fault: Callable[[str, BaseException], None],
        extra_fields: Mapping[str, Mapping[str, str | None]] = MappingProxyType({}),
    ) -> None:
        """Compile the terms.

        Args:
            plan: which terms there are, and whose.
            on_fault: called with the name of a rule or macro whose evaluation or output raised.
            extra_fields: by rule, output fields that its text doesn't name: name to format, None for the field itself.

        Raises:
            OutputError: a rule's output cannot be read.
        """
        stored = stored_fields(plan, JSON_BRINGER_FIELDS)
        self._uses: dict[str, list[_LegUse | _RuleUse]] = {}
        """By source."""
        for macro in plan.macros:
            for leg in macro.legs:
                uses = _leg_uses(macro, leg, stored.get((macro.fingerprint, leg.name), ()))
                for source in leg.sources - {SYSCALL} if uses else ():
                    self._uses.setdefault(source, []).extend(uses)
        self.rules = tuple(rule for rule in plan.rules if rule.source != SYSCALL)
        """The stateful rules that events of JSON complete."""
        for rule in self.rules:
            self._uses.setdefault(rule.source, []).extend(_rule_uses(rule, extra_fields.get(rule.name, {})))
        self._recent = RecentlySent(plan)
        self._routes = RelayRoutes(plan)
        self.counts: Counter[str] = Counter()
        """Events that could not be counted, by reason."""
        self._fault = on_fault

    @property
    def sources(self) -> frozenset[str]:
        """The sources whose events matter to any term."""
        return frozenset(self._uses)

    def process(self, event: AuditFields, appended: int = 0) -> list[PreMatch]:
        """Return what correlation needs of an event.

        Args:
            event: the event.
            appended: when the broker received it, ns since the epoch; 0 if none did.
        """
        uses = self._uses.get(event.source.name)
        if uses is None:
            return []
        found = Gathered(self._recent, self._routes, event.source.name, appended)
        for use in uses:
            name = use.macro.name if isinstance(use, _LegUse) else use.rule.name
            try:
                if not use.matches(event):
                    continue
                if isinstance(use, _LegUse):
                    homes = [group_of(_values(event, fields)) for fields in use.homes] if use.homes else ()
                    found.feed(use.term, use.macro, use.fields, _values(event, use.fields), use.rule_name, homes=homes)
                    continue
                groups = [group_of(_values(event, fields)) for fields in use.rule.group_fields]
                content = partial(self._content, use, event)
                found.candidate(use.term, use.rule, groups, partial(_named, event, use.by), content)
            except Exception as problem:  # noqa: BLE001  an error in one rule must not stop the others
                self._fault(name, problem)
        self.counts.update(reason for _, reason in found.missing)
        if not (found.feeds or found.candidates or found.relays):
            return []
        found.mark_sent()
        return found.pre_matches(_origin(event), event.time, event.hostname, Account(event.source.name))

    def forget_sent(self, values: Iterable[SeenKey]) -> None:
        """Send values of first_seen again when they come: they were left out."""
        self._recent.forget(values)

    def _content(self, use: _RuleUse, event: AuditFields) -> Content:
        try:
            rendered = [form(event) for form in use.formats]
            fields: dict[str, Value] = {}
            for part in rendered:
                fields.update(part.fields)
            for key, is_field, form in use.extras:
                extra = form(event)
                fields |= extra.fields if is_field else {key: extra.text}
            return Content(tuple(part.text for part in rendered), fields, event.row())
        except Exception as problem:  # noqa: BLE001  an alert without content is better than none
            self._fault(use.rule.name, problem)
            return Content((MISSING,) * len(use.formats), {}, {})


def _values(event: AuditFields, fields: Sequence[str]) -> tuple[Any, ...]:
    # A list without elements has no value to group by.
    return tuple(None if event[name] == () else event[name] for name in fields)


def _named(event: AuditFields, fields: Sequence[str]) -> dict[str, Any]:
    return dict(zip(fields, _values(event, fields), strict=True))


def _origin(event: AuditFields) -> EventOrigin:
    """Return what identifies the event: the same however often it is delivered, and from wherever.

    Each is a source of its own, because events of JSON have no order that their identity shows.
    """
    text = "\x1f".join((str(event.stated_time), *event.identity))
    return EventOrigin(event.source.name, blake2b(text.encode(), digest_size=16).hexdigest(), 0, 0, 0)


def _leg_uses(macro: StatefulMacro, leg: Leg, stored: Sequence[str]) -> list[_LegUse]:
    if leg.sources == {SYSCALL}:
        return []
    rule_name = leg.name if macro.correlation.counts_rules else None
    fields = (*leg.fields, *stored)
    return [
        _LegUse(term, compile_items(term.condition), macro, fields, rule_name, leg.home if term.is_stateful else ())
        for term in leg.terms
    ]


def _rule_uses(rule: StatefulRule, extra_fields: Mapping[str, str | None]) -> list[_RuleUse]:
    by = tuple(name for name in rule.suppress.by if name not in rule.group_by)
    try:
        formats = tuple(compile_output(text).compile_items() for text in pieces(rule.output)[0])
    except BadWindowToken as problem:
        raise OutputError(problem.message, problem.span) from None
    extras = tuple(
        (key, form is None, compile_output(f"%{key}" if form is None else form).compile_items())
        for key, form in extra_fields.items()
    )
    return [_RuleUse(term, compile_items(term.condition), rule, by, formats, extras) for term in rule.terms]
