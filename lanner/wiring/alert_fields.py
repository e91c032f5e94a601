"""The fields that an alert carries, in conditions of routes and mutes, and in templates.

Conditions are compiled together with the active rules, so that lists and macros have the same meaning as there.
"""

import re
from collections import ChainMap
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from foundation.errors import LannerError
from foundation.quantities import clock, clock_seconds, date_and_time, date_and_time_seconds, iso8601
from foundation.text import OnNote
from lanner.settings import Settings
from lanner.settings.faults import BadSettings, SettingFault, part_of
from lanner.settings.sections.sinks import AppendOutput, Condition
from lanner.wiring.rules import find_rules, output_faults
from notifier.sink import SinkStats
from processor.compiler.mapping import compile_mapping
from processor.language.ast import checks
from processor.loading import Problem, Rule, RuleFile, load_rules
from processor.loading.condition_checks import fields_of
from processor.output.formatter import MISSING, compile_output
from processor.rule import correlations_of
from processor.splitting import stateful_names
from schemas.alert import Alert
from schemas.catalog.fields import FIELDS
from schemas.distinct_values import may_differ

Predicate = Callable[[Alert], bool]
_FILE = "<settings>"
_FIRST = RuleFile("<built in>", "- macro: container\n  condition: container.id != host\n")
"""A macro that every Falco user expects; rule files may redefine it."""
_INDENT = 4
"""Blanks before each condition in the file generated from all of them."""
Fill = Callable[[Alert], str]
_Piece = Callable[[Mapping[str, Any]], str]
_FIELD = re.compile(r"%([a-z][a-z0-9_]*)(?:\.\w+)+(?:\[[^\]]*\])?", re.ASCII)
_OURS = frozenset(name.split(".")[0] for name in FIELDS)
"""First words of our field names; others belong to Falco plugins, whose alerts `--listen` accepts."""
Adds = Callable[[Alert], Alert]


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


def compile_templates(settings: Settings) -> Mapping[int, Fill]:
    """Compile the templates of all routes, by the index of their route.

    Raises:
        BadSettings: with all errors.
    """
    made: dict[int, Fill] = {}
    errors: list[SettingFault] = []
    for index, each in enumerate(settings.routes):
        if each.template is None:
            continue
        name = f"routes[{index}].template"
        if faults := output_faults(name, each.template, [(at, text) for at, text in _parts(each.template) if text]):
            errors += faults
        else:
            made[index] = compile_template(each.template)
    if errors:
        raise BadSettings(*errors)
    return made


def compile_template(template: str) -> Fill:
    """Compile one template. Raises OutputError."""
    pieces = list(_pieces(template))
    return lambda alert: "".join(piece(values) for values in [values_of(alert)] for piece in pieces)


def or_own_text(fill: Fill, name: str, stats: SinkStats, report: OnNote) -> Fill:
    """Return a template that never raises: an exception is counted, reported once, and the rule's text is used."""

    def filled(alert: Alert) -> str:
        try:
            return fill(alert)
        except Exception as error:  # noqa: BLE001  hostile values may make generated code raise anything
            stats.condition_faults += 1
            if stats.condition_faults == 1:
                what = f"the template failed for alert {alert.id} ({type(error).__name__})"
                report(f"{name}: {what}; the rule's own output is used.")
            return alert.output

    return filled


def _pieces(template: str) -> Iterator[_Piece]:
    start = 0
    for at, text in _parts(template):
        if at > start:
            yield _foreign(template[start + 1 : at])
        if text:
            yield _own(text)
        start = at + len(text)


def _parts(template: str) -> Iterator[tuple[int, str]]:
    """Yield the parts before, between and after fields of Falco's plugins, each with its offset."""
    start = 0
    for found in _FIELD.finditer(template):
        if found.group(1) not in _OURS:
            yield start, template[start : found.start()]
            start = found.end()
    yield start, template[start:]


def _own(text: str) -> _Piece:
    # compile_output() drops an asterisk at the beginning.
    fill = compile_output(f"*{text}").fill
    return lambda values: fill(values).text


def _foreign(name: str) -> _Piece:
    def shown(values: Mapping[str, Any]) -> str:
        value = values.get(name)
        return MISSING if value is None else str(value)

    return shown


def values_of(alert: Alert) -> Mapping[str, Any]:
    """Return the values of an alert by the names of fields."""
    own = {
        "evt.hostname": alert.hostname,
        "evt.source": alert.source,
        "evt.rawtime": alert.time,
        "evt.time": clock(alert.time),
        "evt.time.s": clock_seconds(alert.time),
        "evt.time.iso8601": iso8601(alert.time, utc=True),
        "evt.datetime": date_and_time(alert.time),
        "evt.datetime.s": date_and_time_seconds(alert.time),
    }
    given = {name: value for name, value in alert.output_fields.items() if value is not None}
    return ChainMap(own, given, dict(alert.event))


def appended(settings: Settings) -> Adds:
    """Return a function that adds text and fields to an alert of any rule. Raises OutputError."""
    entries = [_entry(item) for item in settings.append_output if item.extra_output or item.extra_fields]

    def add(alert: Alert) -> Alert:
        for matches, text, fields in entries:
            if matches(alert):
                output = alert.output if text is None else f"{alert.output} {text(alert)}"
                added = {name: value(alert) for name, value in fields}
                alert = replace(alert, output=output, output_fields={**alert.output_fields, **added})
        return alert

    return add


def _entry(
    item: AppendOutput,
) -> tuple[Callable[[Alert], bool], Fill | None, Sequence[tuple[str, Callable[[Alert], Any]]]]:
    match = item.match

    def matches(alert: Alert) -> bool:
        return (
            match.source in (None, alert.source)
            and match.rule in (None, alert.rule)
            and set(match.tags) <= set(alert.tags)
        )

    text = None if item.extra_output is None else compile_template(item.extra_output)
    return matches, text, [(each.name, _value(each.name, each.format)) for each in item.extra_fields]


def _value(name: str, form: str | None) -> Callable[[Alert], Any]:
    if form is not None:
        return compile_template(form)
    return lambda alert: values_of(alert).get(name)
