"""Applies all lints to loaded rules."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import chain, islice

from collector.events.system_calls import EVERYTHING
from lanner.ruleset.lint.codes import Ignores, LintCode
from lanner.ruleset.lint.comparisons import correlated_fields_of_other_events, fields_of_other_events, value_problems
from lanner.ruleset.lint.conditions import contradictions, shadowed_rules, unbounded_alternatives, useless_exceptions
from lanner.ruleset.lint.texts import ConditionText, ListItems, text_of, texts_of
from processor.fields.availability import remark_on, source_of
from processor.language.ast import Macro, deep, walk
from processor.language.event_types import is_broad
from processor.loading import LoadedMacro, LoadResult, Problem, Redefinition, Rule, RuleFile
from processor.loading.condition_checks import fields_of
from processor.rule import correlations_of
from schemas.catalog.fields import FIELDS, SYSCALL


def never_collected(rules: Iterable[Rule], macros: Mapping[str, LoadedMacro]) -> Iterator[Problem]:
    """Yield the warnings of all enabled rules and the macros that they use."""
    enabled = [rule for rule in rules if rule.enabled]
    for rule in enabled:
        if rule.source == SYSCALL:
            yield from _event_types(rule)
    used = {node.name for rule in enabled for node in walk(rule.condition) if isinstance(node, Macro)}
    for text in texts_of((macro for name, macro in macros.items() if name in used), enabled):
        yield from _fields(text)


def _event_types(rule: Rule) -> Iterator[Problem]:
    missing = sorted(rule.event_types - EVERYTHING)
    if not missing or is_broad(rule.event_types):
        return
    which = ", ".join(missing)
    if len(missing) == len(rule.event_types):
        message, hint = f"no collector sends {which}: the rule never matches", "remove the rule"
    else:
        message, hint = f"no collector sends {which}: the rule is evaluated only for the others", "remove them"
    text = text_of(rule)
    yield text.problem(LintCode.LINT_EVENT_TYPE_NOT_COLLECTED, message, (0, len(text.traced.text)), hint)


def _fields(text: ConditionText) -> Iterator[Problem]:
    for check in text.checks():
        for field in fields_of(check):
            spec = FIELDS.get(field.name)
            if spec is not None and source_of(spec) == "none":
                message = f"'{field.name}' never has a value: {remark_on(spec)}"
                hint = f"remove the check of '{field.name}'"
                yield text.problem(LintCode.LINT_FIELD_NEVER_FILLED, message, field.span, hint)


_MOST = 1000
"""Lints that are reported, as of a file's other problems."""


def linted(result: LoadResult, files: Sequence[RuleFile], *, first_match: bool = True) -> LoadResult:
    """Return the result, rules enabled as configured, with lints, and without what comments in the files switch off.

    first_match: whether an event raises only the alert of the first rule that matches it.
    """
    ignores = Ignores(files)
    with deep():
        lints = chain(ignores.problems(), _lints(result, first_match=first_match))
        found = tuple(dict.fromkeys(islice(ignores.apply(lints), _MOST)))
    warnings = tuple(ignores.apply(result.warnings))
    quieter = replace(
        result,
        warnings=warnings,
        files=tuple(replace(file, warnings=tuple(ignores.apply(file.warnings))) for file in result.files),
        infos=tuple(problem for problem in found if problem.code.severity == "info"),
    )
    return quieter.with_problems(found)


def _lints(result: LoadResult, *, first_match: bool) -> Iterator[Problem]:
    yield from map(_redefined, result.redefinitions)
    items = ListItems(result.lists)
    for text in texts_of(result.macros.values(), result.rules):
        yield from value_problems(text, items)
        yield from contradictions(text)
        yield from fields_of_other_events(text)
    for macro in result.macros.values():
        yield from correlated_fields_of_other_events(macro)
    for rule in result.rules:
        yield from unbounded_alternatives(rule)
        yield from useless_exceptions(rule)
    yield from never_collected(result.rules, result.macros)
    if first_match:
        yield from shadowed_rules(result.rules, correlations_of(result.macros))


def _redefined(item: Redefinition) -> Problem:
    earlier = f"{item.earlier.file}:{item.earlier.line}"
    hint = "add `override` or `append` to change only a part"
    if item.location.file == item.earlier.file:
        message = (
            f"{item.type} '{item.name}' is defined twice in this file: this replaces that of line {item.earlier.line}"
        )
        return Problem(
            LintCode.LINT_DUPLICATE_NAME, message, item.type, item.name, item.location, f"rename it, or {hint}"
        )
    message = f"{item.type} '{item.name}' redefines that of {earlier}"
    return Problem(LintCode.LINT_REDEFINED, message, item.type, item.name, item.location, hint)
