"""Split stateful rules: conditions on one event are evaluated at detection, the rest by windows.

A condition becomes an "or" of terms. A term is true if one stateless condition is true of the event, some
stateful macros are true and some are not; so only the stateless condition needs the event's batch.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b

from foundation.errors import LannerError
from processor.language.ast import Ancestor, And, Check, Macro, MacroRef, Node, Not, Or, children, deep
from processor.language.printer import print_condition
from processor.output.redaction import Redact, unredacted
from processor.rule import MAX_GROUP_VALUES, Correlation, Rule, Suppress, alert_text, implicit_suppress, sources_of
from schemas.catalog.fields import SYSCALL

MAX_TERMS = 64
"""The maximum number of terms of one condition; nobody writes as many by hand."""


class TooManyTerms(LannerError, ValueError):
    """A condition combines stateful macros in too many ways."""


class UndecidedTogether(LannerError, ValueError):
    """A condition combines a stateful macro that waits for another group with one that is decided earlier."""


_WAITS = "it counts rules that other groups decide, some time after the event itself was evaluated"


@dataclass(frozen=True, slots=True)
class Term:
    """One way for a condition to be true."""

    id: str
    """A hash of its meaning: detection and correlation may run different versions of the rules for a while."""
    condition: Node
    """True of every event for which the term can be true; evaluated at detection."""
    needs: frozenset[str]
    """Fingerprints of the stateful macros that have to be true."""
    forbids: frozenset[str]
    """Fingerprints of the stateful macros that must be false."""

    @property
    def is_stateful(self) -> bool:
        """True if windows decide it."""
        return bool(self.needs or self.forbids)


@dataclass(frozen=True, slots=True)
class Leg:
    """A condition whose events a window takes; counting windows have one, without a name."""

    name: str
    terms: tuple[Term, ...]
    group_fields: tuple[str, ...]
    counted: tuple[str, ...] = ()
    """The fields whose values are counted."""
    sources: frozenset[str] = frozenset({SYSCALL})
    """The sources whose events have all fields that it reads."""
    home: tuple[tuple[str, ...], ...] = ()
    """If the leg is a rule that counts by another group, the fields that have the values of that group."""

    @property
    def fields(self) -> tuple[str, ...]:
        """All fields that are read from its events, except those that outputs name."""
        return (*self.group_fields, *self.counted)


@dataclass(frozen=True, slots=True)
class StatefulMacro:
    """A stateful macro; its windows are named by a fingerprint of all that decides their results."""

    name: str
    fingerprint: str
    correlation: Correlation
    legs: tuple[Leg, ...]
    is_relayed: bool = False
    """True if some events match only after another group's owner has relayed them."""


@dataclass(frozen=True, slots=True)
class StatefulRule:
    """A rule that is finished at correlation."""

    name: str
    fingerprint: str
    """A fingerprint of its name and its suppress settings."""
    priority: str
    tags: tuple[str, ...]
    source: str
    output: str
    terms: tuple[Term, ...]
    macros: tuple[str, ...]
    """Fingerprints of its stateful macros, in the order in which the condition names them."""
    group_by: tuple[str, ...]
    group_fields: tuple[tuple[str, ...], ...]
    """The fields that have the group's values; several where legs name them differently."""
    suppress: Suppress
    description: str = ""
    response: str = ""
    is_relayed: bool = False
    """True if some of its events come from other groups."""


@dataclass(frozen=True, slots=True)
class Plan:
    """All stateful rules, and their windows."""

    rules: tuple[StatefulRule, ...]
    macros: tuple[StatefulMacro, ...]
    """Macros are ordered by dependency."""
    redact: Redact = unredacted
    """Masks an alert; windows count the unmasked values."""
    max_group_values: int = MAX_GROUP_VALUES
    """The maximum number of values that first_seen knows of a group."""

    @property
    def legs(self) -> tuple[Leg, ...]:
        """The legs of all macros."""
        return tuple(leg for macro in self.macros for leg in macro.legs)


def merged(plans: Iterable[Plan]) -> Plan:
    """Merge plans, for events that other processors detected by another version; the last plan has precedence.

    Terms and windows are named by their meaning, so equal ones become one.
    """
    rules: dict[tuple[str, ...], StatefulRule] = {}
    macros: dict[str, StatefulMacro] = {}
    redact: Redact = unredacted
    most = MAX_GROUP_VALUES
    for plan in plans:
        redact, most = plan.redact, plan.max_group_values
        rules.update({(each.fingerprint, *(term.id for term in each.terms)): each for each in plan.rules})
        macros.update({each.fingerprint: each for each in plan.macros})
    return Plan(tuple(rules.values()), tuple(macros.values()), redact, most)


@dataclass(frozen=True, slots=True)
class Split:
    """Rules by the stage that finishes them."""

    stateless: tuple[Rule, ...]
    plan: Plan


def split_rules(rules: Sequence[Rule], correlations: Mapping[str, Correlation]) -> Split:
    """Separate the rules that are finished at detection from those that need windows.

    Raises:
        TooManyTerms: a condition combines stateful macros in more than MAX_TERMS ways.
        UndecidedTogether: it combines macros that are decided in different groups.
    """
    with deep():
        splitter = _Splitter(correlations, {rule.name: rule.source for rule in rules})
        stateless, stateful = [], []
        for rule in rules:
            used = splitter.used_in(rule.condition)
            if used or rule.suppress is not None:
                stateful.append(splitter.rule(rule, used))
            else:
                stateless.append(rule)
        return Split(tuple(stateless), Plan(tuple(stateful), tuple(splitter.macros.values())))


def stateful_names(condition: Node, correlations: Mapping[str, Correlation]) -> tuple[str, ...]:
    """Return the stateful macros that a condition names, in its order, without those that only their legs name."""
    with deep():
        return tuple(node.name for node in _Splitter(correlations).used_in(condition))


def names_together(condition: Node, correlations: Mapping[str, Correlation]) -> tuple[str, ...]:
    """Return the stateful macros that one event has to make true together, in their order; none if one is enough.

    Raises as split_rules.
    """
    with deep():
        splitter = _Splitter(correlations)
        together = {
            name for term in splitter.terms(condition, "", frozenset()) for name in term.needs if len(term.needs) > 1
        }
        named = (splitter.macro(node) for node in splitter.used_in(condition))
        return tuple(macro.name for macro in named if macro.fingerprint in together)


def count_terms(condition: Node, correlations: Mapping[str, Correlation]) -> int:
    """Count the terms of a condition. Raises as split_rules."""
    with deep():
        return len(_Splitter(correlations).terms(condition, "", frozenset()))


_Draft = dict[tuple[frozenset[str], frozenset[str]], tuple[Node, ...]]
"""By needed and forbidden macros, the stateless conditions of which one must be true."""


class _Splitter:
    def __init__(self, correlations: Mapping[str, Correlation], enabled: Mapping[str, str] | None = None) -> None:
        self._enabled = enabled
        """The active rules with their sources; None if all are."""
        self._correlations = correlations
        self._known: dict[int, tuple[Node, bool]] = {}
        self.macros: dict[str, StatefulMacro] = {}
        """By fingerprint, ordered by dependency."""
        self._by_name: dict[str, StatefulMacro] = {}

    def rule(self, rule: Rule, used: Sequence[Macro]) -> StatefulRule:
        macros = [self.macro(node) for node in used]
        suppress = rule.suppress or implicit_suppress([macro.correlation for macro in macros])
        group_by = macros[0].correlation.group_by if macros else suppress.by
        owner = _hash("rule", rule.name, rule.output, *group_by, "by", *suppress.by)
        fields = {leg.group_fields: None for macro in macros for leg in macro.legs if rule.source in leg.sources}
        return StatefulRule(
            name=rule.name,
            fingerprint=_hash("rule", rule.name, *suppress.by, str(suppress.period)),
            priority=str(rule.priority),
            tags=tuple(sorted(rule.tags)),
            source=rule.source,
            output=rule.output,
            terms=self.terms(rule.condition, owner, frozenset({rule.source})),
            macros=tuple(macro.fingerprint for macro in macros),
            group_by=group_by,
            group_fields=tuple(fields) or (suppress.by,),
            suppress=suppress,
            description=alert_text(rule.description),
            response=alert_text(rule.response),
            is_relayed=any(macro.is_relayed for macro in macros),
        )

    def used_in(self, condition: Node) -> list[Macro]:
        found: dict[str, Macro] = {}
        todo = [condition]
        while todo:
            node = todo.pop()
            if not self._remembers(node):
                continue
            if isinstance(node, Macro) and node.name in self._correlations:
                found.setdefault(node.name, node)
            else:
                todo.extend(reversed(children(node)))
        return list(found.values())

    def _remembers(self, node: Node) -> bool:
        known = self._known.get(id(node))
        if known is None:
            is_stateful = isinstance(node, Macro) and node.name in self._correlations
            answer = is_stateful or any(map(self._remembers, children(node)))
            # The node is stored beside the result, because otherwise its id could be reused.
            known = self._known[id(node)] = (node, answer)
        return known[1]

    def macro(self, node: Macro) -> StatefulMacro:
        known = self._by_name.get(node.name)
        if known is not None:
            return known
        correlation = self._correlations[node.name]
        bodies: dict[str, Node]
        conditions: list[tuple[str, Node]]
        if correlation.is_over_rules:
            bodies = {leg.name: leg.body for leg in _legs(node.body)}
            # A disabled rule is not counted; a sequence may list one that raises no alerts itself.
            counted = [name for name in bodies if self._enabled is None or name in self._enabled]
            # The loader reports rules that don't exist.
            names = [name for name in correlation.legs if name in bodies] if correlation.kind.is_temporal else counted
            conditions = [(name, bodies[name]) for name in names]
        elif correlation.kind.is_temporal:
            bodies = {leg.name: leg for leg in _legs(node.body)}
            conditions = [(name, bodies[name]) for name in correlation.macros]
        else:
            conditions = [("", node.body)]
        owner = _hash("macro", node.name, repr(correlation))
        legs = tuple(
            self._leg(name, condition, f"{owner}:{index}", correlation)
            for index, (name, condition) in enumerate(conditions)
        )
        fingerprint = _hash(owner, *(term.id for leg in legs for term in leg.terms))
        is_relayed = any(leg.home or self._relayed(term) for leg in legs for term in leg.terms)
        if is_relayed and correlation.kind.is_ordered:
            raise UndecidedTogether(f"'{node.name}' is an ordered sequence, but {_WAITS}")
        macro = StatefulMacro(node.name, fingerprint, correlation, legs, is_relayed)
        self._by_name[node.name] = self.macros[fingerprint] = macro
        return macro

    def _leg(self, name: str, condition: Node, owner: str, correlation: Correlation) -> Leg:
        groups = correlation.group_fields(name)
        sources = sources_of(condition, (*groups, *correlation.fields))
        if correlation.is_over_rules and self._enabled is not None and name in self._enabled:
            sources &= {self._enabled[name]}
        terms = self.terms(condition, owner, sources)
        asked = [self.macro(node) for node in self.used_in(condition)] if correlation.is_over_rules else []
        # All stateful macros of a rule have the same group-by.
        if all(macro.correlation.group_by == correlation.group_by for macro in asked):
            return Leg(name, terms, groups, correlation.fields, sources)
        home = {leg.group_fields: None for macro in asked for leg in macro.legs if leg.sources & sources}
        return Leg(name, terms, groups, correlation.fields, sources, tuple(home))

    def _relayed(self, term: Term) -> list[str]:
        """Return the names of the macros of a term whose results are known only after a relay."""
        return [macro.name for each in term.needs | term.forbids if (macro := self.macros[each]).is_relayed]

    def terms(self, condition: Node, owner: str, sources: frozenset[str]) -> tuple[Term, ...]:
        terms = []
        for (needs, forbids), parts in self._draft(condition, positive=True).items():
            text = [print_condition(part) for part in parts]
            identity = _hash(owner, *text, "needs", *sorted(needs), "forbids", *sorted(forbids))
            bounds = (self._upper_bound(fingerprint, sources) for fingerprint in sorted(needs))
            own = parts[0] if len(parts) == 1 else Or(parts)
            term = Term(identity, _conjunction((own, *bounds)), needs, forbids)
            relayed = self._relayed(term)
            if relayed and (forbids or len(needs) > 1):
                how = "is combined with other stateful macros, or negated"
                raise UndecidedTogether(f"'{min(relayed)}' {how}, but {_WAITS}")
            terms.append(term)
        return tuple(terms)

    def _upper_bound(self, fingerprint: str, sources: frozenset[str]) -> Node:
        """Return a stateless condition that is true of every event of these sources for which a macro can be true."""
        macro = self.macros[fingerprint]
        last = len(macro.correlation.legs)
        completing = macro.legs[last - 1 : last] if macro.correlation.kind.is_ordered else macro.legs
        alternatives = tuple(term.condition for leg in completing if leg.sources & sources for term in leg.terms)
        return alternatives[0] if len(alternatives) == 1 else Or(alternatives)

    def _draft(self, node: Node, *, positive: bool) -> _Draft:
        if not self._remembers(node):
            return {(frozenset(), frozenset()): (node if positive else Not(node),)}
        if isinstance(node, Macro):
            if node.name in self._correlations:
                which = frozenset({self.macro(node).fingerprint})
                return {(which, frozenset()) if positive else (frozenset(), which): (And(()),)}
            return self._draft(node.body, positive=positive)
        if isinstance(node, Not):
            return self._draft(node.child, positive=not positive)
        if isinstance(node, Ancestor):
            raise UndecidedTogether("a stateful macro is about events, so it can't be a condition of an ancestor")
        if isinstance(node, Check | MacroRef):
            raise TypeError(f"{node} is not resolved")
        if isinstance(node, And) == positive:
            return self._all(node.children, positive=positive)
        return _merged([self._draft(child, positive=positive) for child in node.children])

    def _all(self, children: Sequence[Node], *, positive: bool) -> _Draft:
        result: _Draft = {(frozenset(), frozenset()): (And(()),)}
        for child in children:
            draft = self._draft(child, positive=positive)
            products: list[_Draft] = []
            for (needs, forbids), parts in result.items():
                for (more_needs, more_forbids), more_parts in draft.items():
                    key = (needs | more_needs, forbids | more_forbids)
                    if not key[0] & key[1]:
                        products.append({key: (_conjunction((_disjunction(parts), _disjunction(more_parts))),)})
            result = _merged(products)
        return result


def _merged(drafts: Sequence[_Draft]) -> _Draft:
    result: _Draft = {}
    for draft in drafts:
        for key, parts in draft.items():
            result[key] = tuple(dict.fromkeys((*result.get(key, ()), *parts)))
    if len(result) > MAX_TERMS:
        raise TooManyTerms(f"the condition combines stateful macros in more than {MAX_TERMS} ways")
    return result


def _disjunction(parts: tuple[Node, ...]) -> Node:
    return parts[0] if len(parts) == 1 else Or(parts)


def _conjunction(parts: Sequence[Node]) -> Node:
    flat: dict[Node, None] = {}
    for part in parts:
        flat.update(dict.fromkeys(part.children if isinstance(part, And) else (part,)))
    conjuncts = tuple(flat)
    return conjuncts[0] if len(conjuncts) == 1 else And(conjuncts)


def _legs(body: Node) -> list[Macro]:
    return [node for node in (body.children if isinstance(body, Or) else (body,)) if isinstance(node, Macro)]


def _hash(*parts: str) -> str:
    text = "\x1f".join(parts).encode("utf-8", "surrogatepass")
    return blake2b(text, digest_size=8).hexdigest()
