"""Loads rules for use: with an error in any file there are none, as with Falco."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

from lanner.errors import BadInput
from lanner.ruleset.lint import never_sent
from lanner.ruleset.sources import RuleSources, redefinitions
from lanner.settings import Settings
from lanner.settings.sections.model import AppendOutput
from processor.correlation.plan.spec import Correlation, Suppress
from processor.loading import Rule, load_rules, parse_priority
from processor.loading.priority import Priority
from processor.loading.problems import report
from processor.loading.rules import LoadedList, LoadedMacro
from processor.loading.selection import Switch, apply_switches, unmatched


@dataclass(frozen=True, slots=True)
class ActiveRules:
    """All rules, turned on and off as the settings say, and what there is to say about them."""

    rules: tuple[Rule, ...]
    notices: tuple[str, ...]
    """Each file with its count, what redefines what, warnings."""
    extra_fields: Mapping[str, Mapping[str, str | None]]
    """What the settings add to output_fields, by rule: name to format, None for the field of that name itself."""
    correlations: Mapping[str, Correlation]
    """Of stateful macros, by name."""
    suppressed: Mapping[str, Suppress]
    """Of rules that say how their repeats are told, by name."""
    macros: Mapping[str, LoadedMacro] = field(default_factory=dict)
    lists: Mapping[str, LoadedList] = field(default_factory=dict)


def load_or_fail(settings: Settings, sources: RuleSources, *, warnings: bool = True) -> ActiveRules:
    """Load, and turn rules on and off as the settings say.

    warnings: whether the loader's warnings are among the notices. Raises BadInput with everything that is wrong.
    """
    result = load_rules(sources.files)
    if result.errors:
        raise BadInput(*(report.as_text([problem]).rstrip("\n") for problem in result.errors))
    switches = tuple(switches_of(settings))
    rules = apply_switches(result.rules, switches)
    if warnings:
        result = result.with_warnings(never_sent(rules, result.macros))
    counts = dict.fromkeys((file.name for file in sources.files), 0)
    for rule in rules:
        counts[rule.file] = counts.get(rule.file, 0) + 1
    notices = [f"{name}: {number} rules" for name, number in counts.items() if number]
    notices += redefinitions(sources.files)
    notices += [
        f"settings: no rule is {'named' if switch.by == 'rule' else 'tagged'} {switch.pattern!r}."
        for switch in unmatched(result.rules, switches)
    ]
    if warnings and result.warnings:
        notices.append(report.as_text(result.warnings).rstrip("\n"))
    extra_fields = {rule.name: fields for rule in rules if (fields := _extra_fields(rule, settings))}
    return ActiveRules(
        tuple(_with_appended(rule, settings) for rule in rules),
        tuple(notices),
        extra_fields,
        result.correlations,
        result.suppressed,
        result.macros,
        result.lists,
    )


def priority_floor(settings: Settings) -> Priority:
    """Give the least grave priority that is loaded."""
    floor = parse_priority(settings.priority)
    return Priority.DEBUG if floor is None else floor


def switches_of(settings: Settings) -> Iterator[Switch]:
    """Give the steps by which the settings turn rules on and off."""
    for selection in settings.rules:
        for enable, target in ((True, selection.enable), (False, selection.disable)):
            if target is not None and target.rule is not None:
                yield Switch(enable, "rule", target.rule)
            if target is not None and target.tag is not None:
                yield Switch(enable, "tag", target.tag)


def _with_appended(rule: Rule, settings: Settings) -> Rule:
    """Put the settings' extra text behind a rule's output."""
    extra = [item.extra_output for item in settings.append_output if item.extra_output and is_for(item, rule)]
    return replace(rule, output=" ".join((rule.output, *extra))) if extra else rule


def _extra_fields(rule: Rule, settings: Settings) -> dict[str, str | None]:
    items = (item for item in settings.append_output if is_for(item, rule))
    return {field.name: field.format for item in items for field in item.extra_fields}


def is_for(item: AppendOutput, rule: Rule) -> bool:
    """Tell whether an appended output is for a rule: all that it names must hold."""
    wanted = item.match
    return (
        (wanted.source is None or wanted.source == rule.source)
        and (wanted.rule is None or wanted.rule == rule.name)
        and set(wanted.tags) <= set(rule.tags)
    )
