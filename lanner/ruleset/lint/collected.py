"""Warns of rules that need events or fields no collector sends: they load, as in Falco, but never match."""

from collections.abc import Iterable, Iterator, Mapping

from collector.events.system_calls import EVERYTHING
from lanner.ruleset.lint.codes import LintCode
from lanner.ruleset.lint.texts import ConditionText, text_of, texts_of
from processor.fields.availability import remark_on, source_of
from processor.language.ast import Macro, walk
from processor.language.event_types import is_broad
from processor.loading import LoadedMacro, Problem, Rule
from processor.loading.problems.condition_warnings import fields_of
from schemas.catalogue.fields import FIELDS
from schemas.catalogue.sources import SYSCALL


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
