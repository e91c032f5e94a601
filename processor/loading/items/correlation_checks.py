"""Checks of stateful rules: the legs, groups and suppressions of macros and rules must be consistent."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace

from foundation.text import did_you_mean
from foundation.yaml.nodes import MappingNode, SourceLocation
from foundation.yaml.nodes import Node as YamlNode
from foundation.yaml.text import node_location
from processor.language.ast import Macro, Node, Or, walk
from processor.loading.definitions import PLACEHOLDER
from processor.loading.items.correlations import Report, read_correlation, read_suppress
from processor.loading.problems import Problem, ProblemCode
from processor.rule import (
    PREVALENCE_DIGEST,
    PREVALENCE_FIELDS,
    BadWindowToken,
    Correlation,
    LoadedMacro,
    Rule,
    Suppress,
    correlations_of,
    sources_of,
    window_tokens,
)
from processor.splitting import TooManyTerms, UndecidedTogether, count_terms, names_together, stateful_names

_APART = "use it alone, or rules whose stateful macros have the same group-by as the macro about them"


class StatefulChecker:
    """Reads correlations and suppressions, and checks them together with the rules that use them."""

    def __init__(self, rules: Iterable[Rule], macros: Mapping[str, LoadedMacro], report: Report) -> None:
        """Read and check all rules and macros. report: receives problems."""
        self._report = report
        self._unread: set[str] = set()
        """Stateful macros with errors: rules that use them are not checked."""
        self.macros = {name: self._read(macro) for name, macro in macros.items()}
        """The macros with their correlations."""
        self._correlations = correlations_of(self.macros)
        for name, correlation in self._correlations.items():
            self._check_macro(self.macros[name], correlation)
        self.rules = tuple(map(self._checked, rules))
        """The rules with their suppressions."""

    def _read(self, macro: LoadedMacro) -> LoadedMacro:
        extension = macro.extensions.get("correlation")
        if extension is None:
            return macro
        correlation = read_correlation(macro.name, extension, self._report)
        if correlation is None:
            self._unread.add(macro.name)
        return replace(macro, correlation=correlation)

    def _check_macro(self, macro: LoadedMacro, correlation: Correlation) -> None:
        extension = macro.extensions["correlation"]
        if correlation.is_over_rules:
            if macro.condition_text != PLACEHOLDER:
                hint = "remove 'condition', or add it to the rules"
                message = "a macro over rules has no condition of its own"
                self._fail(macro, _part(extension, "rules"), message, hint)
            return
        if correlation.kind.is_temporal:
            # The text consists of the legs if the macro has no condition of its own.
            if macro.condition_text != " or ".join(correlation.macros):
                message = f"a macro of type {correlation.type} consists of its legs and has no condition of its own"
                hint = "remove 'condition', or move it into the legs"
                self._fail(macro, _part(extension, "type"), message, hint)
                return
            for name in correlation.macros:
                for inner, condition in self._inner(_leg(macro.condition, name)):
                    if condition.group_by != correlation.group_fields(name):
                        self._other_group(macro, inner, condition, correlation.group_fields(name))
        else:
            for inner, condition in self._inner(macro.condition):
                if condition.group_by != correlation.group_by:
                    self._other_group(macro, inner, condition, correlation.group_by)
        for name, leg_condition, fields in _legs(macro, correlation):
            if not sources_of(leg_condition, fields):
                leg = f"'{name}'" if name else "its condition"
                hint = "if legs name a value of the group differently, define an alias"
                message = f"no source of events has all fields of {leg} and {_names(fields)}"
                self._fail(macro, _part(extension, "group-by"), message, hint)
                return
        self._count_terms(macro, _part(extension, "type"), "split it into several macros")

    def _count_terms(self, item: LoadedMacro | Rule, location: SourceLocation, hint: str) -> None:
        try:
            count_terms(item.condition, self._correlations)
        except TooManyTerms as error:
            self._fail(item, location, str(error), hint)
        except UndecidedTogether as error:
            self._fail(item, location, str(error), _APART)

    def _inner(self, node: Node | None) -> Iterator[tuple[str, Correlation]]:
        for name in () if node is None else stateful_names(node, self._correlations):
            yield name, self._correlations[name]

    def _other_group(self, macro: LoadedMacro, inner: str, its: Correlation, mine: tuple[str, ...]) -> None:
        message = f"'{inner}' counts by {_names(its.group_by)} and '{macro.name}' by {_names(mine)}"
        hint = "a macro and the stateful macros that it uses must have the same group-by, in the same order"
        self._fail(macro, _part(macro.extensions["correlation"], "group-by"), message, hint)

    def _fail(self, item: LoadedMacro | Rule, location: SourceLocation, message: str, hint: str) -> None:
        kind = "macro" if isinstance(item, LoadedMacro) else "rule"
        self._report(Problem(ProblemCode.LOAD_ERR_EXTENSION, message, kind, item.name, location, hint))

    def _checked(self, rule: Rule) -> Rule:
        """Report the problems of a rule, and return it with its suppression."""
        if self._unread and any(isinstance(node, Macro) and node.name in self._unread for node in walk(rule.condition)):
            return rule
        used = stateful_names(rule.condition, self._correlations)
        groups: dict[tuple[tuple[str, ...], object], str] = {}
        for name in used:
            correlation = self._correlations[name]
            is_aliased = any(alias.name in correlation.group_by for alias in correlation.aliases)
            groups.setdefault((correlation.group_by, correlation.aliases if is_aliased else ()), name)
        if len(groups) > 1:
            different = " and ".join(f"'{name}' by {_names(by)}" for (by, _), name in groups.items())
            hint = "all stateful macros of a rule must have the same group-by, in the same order, and the same aliases"
            self._fail(rule, rule.location, f"its stateful macros count by different groups: {different}", hint)
        for name in used:
            completing = _completing(self.macros[name], self._correlations[name])
            if rule.source not in completing:
                message = f"no event of source {rule.source} completes the stateful macro '{name}'"
                hint = f"the rule's source may be {' or '.join(sorted(completing))}"
                self._fail(rule, rule.location, message, hint)
        self._count_terms(rule, rule.location, "split it into several rules")
        suppress = self._suppress(rule, [self._correlations[name] for name in used])
        self._check_output(rule, used)
        return rule if suppress is None else replace(rule, suppress=suppress)

    def _suppress(self, rule: Rule, used: list[Correlation]) -> Suppress | None:
        extension = rule.extensions.get("suppress")
        if extension is None:
            return None
        known = list(dict.fromkeys(name for correlation in used for name in correlation.group_by))
        suppress = read_suppress(rule.name, extension, known, self._report)
        if suppress is None:
            return None
        for name in suppress.by:
            if name not in known and rule.source not in sources_of(None, [name]):
                message = f"events of source {rule.source} don't have field '{name}'"
                self._fail(rule, _part(extension, "by"), message, "use fields of the rule's source")
        missing = [name for name in known if name not in suppress.by]
        if missing:
            message = f"suppress.by lacks {_names(tuple(missing))}, which is in the group-by of the stateful macros"
            hint = f"add {', '.join(missing)} to suppress.by"
            self._fail(rule, _part(extension, "by"), message, hint)
        return suppress

    def _check_output(self, rule: Rule, used: tuple[str, ...]) -> None:
        try:
            tokens = list(window_tokens(rule.output))
        except BadWindowToken:
            return
        legs = [leg for name in used for leg in self._correlations[name].legs]
        traced = rule.traced_output
        for token in tokens:
            location = rule.location if traced is None else traced.locate(token.span)
            if token.key in PREVALENCE_FIELDS:
                if not any(self._counts_digests(name) for name in used):
                    hint = f"use a macro with 'correlation: {{type: prevalence, group-by: [{PREVALENCE_DIGEST}], ...}}'"
                    self._fail(rule, location, f"%{token.key} requires a macro that counts hosts by digest", hint)
            elif not used:
                hint = "use a macro that has a 'correlation', or remove it from the output"
                self._fail(rule, location, f"%{token.key} requires a stateful macro in the condition", hint)
            elif token.macro and token.macro not in used:
                hint = did_you_mean(token.macro, used) or f"the stateful macros of the condition are {_names(used)}"
                self._fail(rule, location, f"%{token.key}: there is no stateful macro '{token.macro}'", hint)
            elif token.what == "leg" and token.leg not in legs:
                hint = did_you_mean(token.leg, legs) or (
                    f"its legs are {', '.join(legs)}" if legs else "it has no legs"
                )
                self._fail(rule, location, f"%{token.key}: there is no leg '{token.leg}'", hint)
            elif token.what == "leg" and not self._has_field(used, token.leg, token.field):
                message = f"%{token.key}: the events of this leg don't have the field"
                self._fail(rule, location, message, "use fields of the source that the leg is about")
            elif token.what not in ("group", "leg") and not token.macro and (several := self._together(rule)):
                message = f"%{token.key} is that of '{several[0]}', one of {len(several)} stateful macros"
                hint = f"write {' or '.join(f'%{token.key}[{name}]' for name in several)}"
                code = ProblemCode.LOAD_WARNING_EXTENSION
                self._report(Problem(code, message, "rule", rule.name, location, hint))

    def _counts_digests(self, macro: str) -> bool:
        correlation = self._correlations[macro]
        return correlation.kind.counts_hosts and correlation.group_by == (PREVALENCE_DIGEST,)

    def _together(self, rule: Rule) -> tuple[str, ...]:
        """Return the stateful macros of which an event has to make several true."""
        try:
            return names_together(rule.condition, self._correlations)
        except (TooManyTerms, UndecidedTogether):
            return ()

    def _has_field(self, used: tuple[str, ...], leg: str, field: str) -> bool:
        """Return whether the events of a leg have a field that an output names."""
        legs = (each for name in used for each in _legs(self.macros[name], self._correlations[name]))
        found = next((sources_of(condition, fields) for name, condition, fields in legs if name == leg), frozenset())
        return not found or bool(found & sources_of(None, [field]))


def _legs(macro: LoadedMacro, correlation: Correlation) -> Iterator[tuple[str, Node | None, tuple[str, ...]]]:
    """Yield the name, the condition and the fields of each leg; a counting macro has one without a name."""
    if not correlation.kind.is_temporal or correlation.is_over_rules:
        yield "", macro.condition, (*correlation.group_by, *correlation.fields)
        return
    for name in correlation.macros:
        yield name, _leg(macro.condition, name), correlation.group_fields(name)


def _completing(macro: LoadedMacro, correlation: Correlation) -> frozenset[str]:
    """Return the sources whose events can make a macro true."""
    legs = [each for each in _legs(macro, correlation) if each[0] != correlation.until or not each[0]]
    last = legs[-1:] if correlation.kind.is_ordered else legs
    return frozenset[str]().union(*(sources_of(condition, fields) for _, condition, fields in last))


def _leg(condition: Node, name: str) -> Node | None:
    parts = condition.children if isinstance(condition, Or) else (condition,)
    return next((part for part in parts if isinstance(part, Macro) and part.name == name), None)


def _names(fields: tuple[str, ...]) -> str:
    return ", ".join(fields) or "nothing"


def _part(extension: YamlNode, key: str) -> SourceLocation:
    node = extension.get(key) if isinstance(extension, MappingNode) else None
    return node_location(node if node is not None else extension)
