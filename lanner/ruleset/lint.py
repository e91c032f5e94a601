"""Warns of rules that need events or fields no collector sends: they load, as in Falco, but never match."""

from collections.abc import Iterable, Iterator, Mapping

from collector.events.system_calls import EVERYTHING
from processor.fields.availability import remark_on, source_of
from processor.language.event_types import is_broad
from processor.loading import LoadedMacro, Problem, ProblemCode, Rule
from processor.loading.builder import checks_and_macros
from processor.loading.problems.condition_warnings import fields_of
from schemas.catalogue.fields import resolve_field

_SOURCE = "syscall"


def never_sent(rules: Iterable[Rule], macros: Mapping[str, LoadedMacro]) -> Iterator[Problem]:
    """Yield the warnings of all enabled rules.

    Falco's loader doesn't report these; Lanner's loader reports what Falco's does, so they are added to its warnings.
    """
    for rule in rules:
        if rule.enabled and rule.source == _SOURCE:
            yield from _event_types(rule)
            yield from _fields(rule, macros)


def _event_types(rule: Rule) -> Iterator[Problem]:
    missing = sorted(rule.event_types - EVERYTHING)
    if not missing or is_broad(rule.event_types):
        return
    which = ", ".join(missing)
    if len(missing) == len(rule.event_types):
        message, hint = f"no collector sends {which}: the rule never matches", "remove the rule"
    else:
        message, hint = f"no collector sends {which}: the rule is evaluated only for the others", "remove them"
    location = rule.traced.locate((0, len(rule.traced.text)))
    yield Problem(ProblemCode.LOAD_COMPILE_CONDITION, message, "rule", rule.name, location, hint)


def _fields(rule: Rule, macros: Mapping[str, LoadedMacro]) -> Iterator[Problem]:
    for check, macro in checks_and_macros(rule.condition):
        for field in fields_of(check):
            found = resolve_field(field.name)
            if found is None or source_of(found[0]) != "none":
                continue
            message = f"'{field.name}' never has a value: {remark_on(found[0])}"
            hint = f"remove the check of '{field.name}'"
            if macro is not None:
                hint = f"in macro '{macro.name}'{_where(macros.get(macro.name))}: {hint}"
            location = rule.traced.locate(field.span if macro is None else macro.span)
            yield Problem(ProblemCode.LOAD_COMPILE_CONDITION, message, "rule", rule.name, location, hint)


def _where(macro: LoadedMacro | None) -> str:
    return "" if macro is None else f" ({macro.location.file}:{macro.location.line})"
