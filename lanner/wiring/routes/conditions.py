"""Conditions of routes and mutes: the rule language over the fields that an alert carries.

They are compiled as rules are, beside the rules in force, so that lists and macros mean here what they mean there.
"""

from collections import ChainMap
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from lanner.errors import BadInput
from lanner.ruleset.sources import find_rules
from lanner.settings import Settings
from lanner.settings.sections.delivery import Condition
from notifier.delivery.stats import SinkStats
from processor.compiler.mapping import compile_mapping
from processor.correlation.plan.split import stateful_names
from processor.loading import Problem, Rule, RuleFile, load_rules
from schemas.alert import Alert

Predicate = Callable[[Alert], bool]
_FILE = "<settings>"
_FIRST = RuleFile("<built in>", "- macro: container\n  condition: container.id != host\n")
"""What every Falco user expects to be there; rule files may define it anew."""
_INDENT = 4
"""Of a condition in the file that is made of all of them."""


def compile_conditions(settings: Settings, conditions: Mapping[str, Condition]) -> Mapping[str, Predicate]:
    """Compile conditions.

    Args:
        settings: name the rule files whose macros and lists may be used.
        conditions: by the name of the setting that holds each.

    Returns:
        By the same names, what tells whether an alert is meant. A field that an alert doesn't carry is missing, so a
        check of it is false. May raise what a hostile value makes the compiled code raise.

    Raises:
        BadInput: with all that is wrong, each with its place.
    """
    if not conditions:
        return {}
    names = list(conditions)
    sources = find_rules(settings)
    loaded = load_rules([_FIRST, *sources.files, RuleFile(_FILE, "".join(_as_rules(conditions)))])
    made = {rule.name: rule for rule in loaded.rules if rule.file == _FILE}
    wrong: list[str] = []
    for problem in loaded.errors:
        if problem.file == _FILE:
            name = names[_number(problem.line, conditions)]
            wrong.append(_in_words(name, conditions[name], problem))
    judges: dict[str, Predicate] = {}
    for number, name in enumerate(names):
        rule = made.get(_rule_name(number))
        if rule is None:
            continue
        if stateful := stateful_names(rule.condition, loaded.correlations):
            where = f"{conditions[name].place}: {name}"
            wrong.append(f"{where}: {stateful[0]!r} counts events; a route sees single alerts. Match the rule's name.")
        judges[name] = _predicate(rule)
    if not wrong and len(judges) < len(conditions):
        wrong.append(f"{', '.join(set(names) - set(judges))}: uses a macro that is wrong; lanner rules validate.")
    if wrong:
        raise BadInput(*wrong)
    return judges


def _as_rules(conditions: Mapping[str, Condition]) -> Iterator[str]:
    for number, condition in enumerate(conditions.values()):
        text = "\n".join(" " * _INDENT + line for line in condition.text.splitlines())
        yield f"- rule: {_rule_name(number)}\n  desc: a route\n  output: a route\n  priority: DEBUG\n"
        yield f"  condition: |2-\n{text}\n"


def _rule_name(number: int) -> str:
    return f"lanner route condition {number}"


def _number(line: int, conditions: Mapping[str, Condition]) -> int:
    """Find the condition that a line of the made file belongs to."""
    for number, condition in enumerate(conditions.values()):
        line -= 5 + len(condition.text.splitlines())
        if line <= 0:
            return number
    return len(conditions) - 1


def _in_words(name: str, condition: Condition, problem: Problem) -> str:
    place = problem.place
    start = max(0, place.column - 1 - place.text_start)
    shown = place.text[_INDENT:]
    caret = " " * max(0, start - _INDENT) + "^" * max(1, min(place.width, len(shown)))
    hint = problem.hint.rstrip(".?")
    hint = f" {hint[:1].upper()}{hint[1:]}{'?' if problem.hint.endswith('?') else '.'}" if hint else ""
    return f"{condition.place}: {name}: {problem.message.rstrip('.')}.{hint}\n    {shown}\n    {caret}"


def _predicate(rule: Rule) -> Predicate:
    judge = compile_mapping(rule.condition)

    def holds(alert: Alert) -> bool:
        own: Mapping[str, Any] = {"evt.hostname": alert.hostname, "evt.source": alert.source}
        return judge(ChainMap(*map(dict, (alert.event, alert.output_fields, own))))

    return holds


def guarded(
    condition: Predicate, name: str, tally: SinkStats, note: Callable[[str], None], *, on_fault: bool
) -> Predicate:
    """Give a condition that never raises: a fault is counted, told once, and answered by on_fault."""

    def holds(alert: Alert) -> bool:
        try:
            return condition(alert)
        except Exception as error:  # noqa: BLE001  hostile values may make generated code raise anything
            tally.condition_faults += 1
            if tally.condition_faults == 1:
                answer = "takes what it can't judge" if on_fault else "mutes nothing that it can't judge"
                note(f"{name}: the condition failed for alert {alert.id} ({type(error).__name__}); it {answer}.")
            return on_fault

    return holds


def conditions_of(settings: Settings) -> Mapping[str, Condition]:
    """Give the conditions of routes and mutes, by the names of their settings."""
    found: dict[str, Condition] = {}
    lists: Sequence[tuple[str, Sequence[Any]]] = (("routes", settings.routes), ("mute", settings.mute))
    for kind, items in lists:
        for place, each in enumerate(items):
            if each.match.condition is not None:
                found[f"{kind}[{place}].match"] = each.match.condition
    return found
