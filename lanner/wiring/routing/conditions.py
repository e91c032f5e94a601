"""Conditions of routes and mutes: the rule language over the fields that an alert carries.

They are compiled together with the active rules, so that lists and macros have the same meaning as there.
"""

from collections import ChainMap
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from foundation.errors import LannerError
from foundation.text import OnNote
from lanner.settings import Settings
from lanner.settings.faults import BadSettings, SettingFault, part_of
from lanner.settings.sections.sinks import Condition
from lanner.wiring.rules import find_rules
from notifier.sink import SinkStats
from processor.compiler.mapping import compile_mapping
from processor.language.ast import checks
from processor.loading import Problem, Rule, RuleFile, load_rules
from processor.loading.condition_checks import fields_of
from processor.rules.rule import correlations_of
from processor.rules.splitting import stateful_names
from schemas.alert import Alert
from schemas.distinct_values import may_differ

Predicate = Callable[[Alert], bool]
_FILE = "<settings>"
_FIRST = RuleFile("<built in>", "- macro: container\n  condition: container.id != host\n")
"""A macro that every Falco user expects; rule files may redefine it."""
_INDENT = 4
"""Blanks before each condition in the file generated from all of them."""


def compile_conditions(settings: Settings, conditions: Mapping[str, Condition]) -> Mapping[str, Predicate]:
    """Compile conditions into predicates on alerts, both by the name of their setting.

    The rule files of the settings define macros and lists. A comparison with a field that an alert lacks is false. A
    predicate may raise any exception on hostile values.

    Raises:
        BadSettings: with all errors.
    """
    if not conditions:
        return {}
    names = list(conditions)
    sources = find_rules(settings)
    loaded = load_rules([_FIRST, *sources.files, RuleFile(_FILE, "".join(_as_rules(conditions)))])
    made = {rule.name: rule for rule in loaded.rules if rule.file == _FILE}
    errors: list[SettingFault] = []
    for problem in loaded.errors:
        if problem.file == _FILE:
            number, start = _number(problem.line, conditions)
            errors.append(_fault(names[number], conditions[names[number]], problem, start))
    predicates: dict[str, Predicate] = {}
    correlations = correlations_of(loaded.macros)
    for number, name in enumerate(names):
        rule = made.get(_rule_name(number))
        if rule is None:
            continue
        if stateful := stateful_names(rule.condition, correlations):
            text = f"{name}: {stateful[0]!r} counts events; a route sees single alerts."
            start = conditions[name].text.find(stateful[0])
            span = (start, start + len(stateful[0]))
            errors.append(_located(SettingFault(name, text, "match the rule's name instead", span), conditions[name]))
        predicates[name] = _predicate(rule)
    if not errors and len(predicates) < len(conditions):
        hint = "`lanner rules validate` shows it"
        errors += [
            _located(SettingFault(name, f"{name}: uses a macro with an error.", hint), conditions[name])
            for name in names
            if name not in predicates
        ]
    if errors:
        raise BadSettings(*errors)
    return predicates


def _as_rules(conditions: Mapping[str, Condition]) -> Iterator[str]:
    for number, condition in enumerate(conditions.values()):
        text = "\n".join(" " * _INDENT + line for line in condition.text.splitlines())
        yield f"- rule: {_rule_name(number)}\n  desc: a route\n  output: a route\n  priority: DEBUG\n"
        yield f"  condition: |2-\n{text}\n"


def _rule_name(number: int) -> str:
    return f"lanner route condition {number}"


def _number(line: int, conditions: Mapping[str, Condition]) -> tuple[int, int]:
    """Return the number of the condition that a line of the generated file belongs to, and the line before its text."""
    end = 0
    for number, condition in enumerate(conditions.values()):
        start = end + 5
        end = start + len(condition.text.splitlines())
        if line <= end:
            return number, start
    return len(conditions) - 1, start


def _fault(name: str, condition: Condition, problem: Problem, start: int) -> SettingFault:
    """Return a problem of the generated file, whose text begins after a line, as one of the condition."""
    lines = condition.text.splitlines(keepends=True)
    row = min(max(problem.line - start - 1, 0), len(lines) - 1)
    offset = sum(map(len, lines[:row])) + max(problem.column - 1 - _INDENT, 0)
    span = (offset, offset + max(problem.location.width, 1))
    text = f"{name}: {problem.message.rstrip('.')}."
    return _located(SettingFault(name, text, problem.hint, span), condition)


def _located(fault: SettingFault, condition: Condition) -> SettingFault:
    if condition.node is None:
        return fault
    location = condition.node.location if fault.span is None else part_of(condition.node, fault.span)
    return replace(fault, location=location)


class _UnknownError(LannerError):
    """A condition may be true for some repeats of a summary only."""


def _predicate(rule: Rule) -> Predicate:
    evaluate = compile_mapping(rule.condition)
    names = {field.name for check in checks(rule.condition) for field in fields_of(check)}

    def holds(alert: Alert) -> bool:
        if alert.repeats and may_differ(alert, names):
            raise _UnknownError
        own: Mapping[str, Any] = {"evt.hostname": alert.hostname, "evt.source": alert.source}
        return evaluate(ChainMap(*map(dict, (alert.event, alert.output_fields, own))))

    return holds


def guarded(condition: Predicate, name: str, stats: SinkStats, report: OnNote, *, on_fault: bool) -> Predicate:
    """Return a condition that never raises: an exception is counted, reported once, and results in on_fault.

    So does a summary whose repeats differ in fields of the condition, but this is no fault.
    """

    def holds(alert: Alert) -> bool:
        try:
            return condition(alert)
        except _UnknownError:
            return on_fault
        except Exception as error:  # noqa: BLE001  hostile values may make generated code raise anything
            stats.condition_faults += 1
            if stats.condition_faults == 1:
                result = "the route accepts such alerts" if on_fault else "the mute ignores such alerts"
                report(f"{name}: the condition failed for alert {alert.id} ({type(error).__name__}); {result}.")
            return on_fault

    return holds


def conditions_of(settings: Settings) -> Mapping[str, Condition]:
    """Return the conditions of routes and mutes, by the names of their settings."""
    found: dict[str, Condition] = {}
    lists: Sequence[tuple[str, Sequence[Any]]] = (("routes", settings.routes), ("mute", settings.mute))
    for kind, items in lists:
        for index, each in enumerate(items):
            if each.match.condition is not None:
                found[f"{kind}[{index}].match"] = each.match.condition
    return found
