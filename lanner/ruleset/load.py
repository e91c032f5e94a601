"""Loads rules for use: an error in any file means no rules at all, as in Falco."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

from lanner.errors import BadInput
from lanner.ruleset.lint.lint import linted
from lanner.ruleset.shipped import with_shipped_hints
from lanner.ruleset.sources import RuleSources
from lanner.settings import Settings
from lanner.settings.sections.model import AppendOutput
from processor.correlation.plan.spec import Correlation, Suppress
from processor.loading import Redefinition, Rule, load_rules
from processor.loading.problems import report
from processor.loading.rules import LoadedList, LoadedMacro
from processor.loading.selection import Switch, apply_switches, unmatched
from schemas.text.counts import count_of


@dataclass(frozen=True, slots=True)
class ActiveRules:
    """All rules, enabled and disabled as configured, with notices about them."""

    rules: tuple[Rule, ...]
    notices: tuple[str, ...]
    """Each file with its number of rules, redefinitions, warnings."""
    extra_fields: Mapping[str, Mapping[str, str | None]]
    """Fields that the settings add to output_fields, by rule: name to format; None for the field of that name."""
    correlations: Mapping[str, Correlation]
    """The correlations of stateful macros, by name."""
    suppressed: Mapping[str, Suppress]
    """How rules suppress repeats, by name of the rule."""
    bare_outputs: frozenset[str] = frozenset()
    """The rules to whose outputs container and pod are not appended."""
    macros: Mapping[str, LoadedMacro] = field(default_factory=dict)
    lists: Mapping[str, LoadedList] = field(default_factory=dict)


def load_or_fail(settings: Settings, sources: RuleSources, *, warnings: bool = True) -> ActiveRules:
    """Load the rules, and enable and disable them as configured.

    warnings: whether to include the loader's warnings in the notices. Raises BadInput with all errors.
    """
    result = load_rules(sources.files)
    if result.errors:
        errors = with_shipped_hints(result.errors)
        raise BadInput(*(report.as_text([problem]).rstrip("\n") for problem in errors))
    switches = tuple(switches_of(settings))
    rules = apply_switches(result.rules, switches)
    if warnings:
        linting = linted(replace(result, rules=rules), sources.files, first_match=settings.rule_matching == "first")
        result = replace(linting, errors=(), warnings=(*linting.errors, *linting.warnings))
    counts = dict.fromkeys((file.name for file in sources.files), 0)
    for rule in rules:
        counts[rule.file] = counts.get(rule.file, 0) + 1
    notices = [f"{name}: {count_of(number, 'rule')}" for name, number in counts.items() if number]
    notices += [_redefinition(item) for item in result.redefinitions if item.location.file != item.earlier.file]
    notices += [
        f"settings: no rule is {'named' if switch.by == 'rule' else 'tagged'} {switch.pattern!r}."
        for switch in unmatched(result.rules, switches)
    ]
    if warnings and result.warnings:
        notices.append(report.as_text(result.warnings, errors_as="warning").rstrip("\n"))
    extra_fields = {rule.name: fields for rule in rules if (fields := _extra_fields(rule, settings))}
    return ActiveRules(
        tuple(_with_appended(rule, settings) for rule in rules),
        tuple(notices),
        extra_fields,
        result.correlations,
        result.suppressed,
        frozenset(rule.name for rule in rules if not _has_suggested(rule, settings)),
        result.macros,
        result.lists,
    )


def _redefinition(item: Redefinition) -> str:
    return (
        f"{item.location.file}:{item.location.line}: {item.type} {item.name!r} redefines that of "
        f"{item.earlier.file}:{item.earlier.line}; add `override` or `append` to change only a part."
    )


def switches_of(settings: Settings) -> Iterator[Switch]:
    """Yield the configured steps of enabling and disabling rules."""
    for selection in settings.rules:
        for enable, target in ((True, selection.enable), (False, selection.disable)):
            if target is not None and target.rule is not None:
                yield Switch(enable, "rule", target.rule)
            if target is not None and target.tag is not None:
                yield Switch(enable, "tag", target.tag)


def _with_appended(rule: Rule, settings: Settings) -> Rule:
    """Append the configured extra text to a rule's output."""
    extra = [item.extra_output for item in settings.append_output if item.extra_output and is_for(item, rule)]
    return replace(rule, output=" ".join((rule.output, *extra))) if extra else rule


def _extra_fields(rule: Rule, settings: Settings) -> dict[str, str | None]:
    items = (item for item in settings.append_output if is_for(item, rule))
    return {field.name: field.format for item in items for field in item.extra_fields}


def _has_suggested(rule: Rule, settings: Settings) -> bool:
    """Return whether container and pod are appended to a rule's output: the last entry that matches decides."""
    items = (item for item in reversed(settings.append_output) if is_for(item, rule))
    return next((item.suggested_output for item in items if item.suggested_output is not None), True)


def is_for(item: AppendOutput, rule: Rule) -> bool:
    """Return whether an appended output applies to a rule: all its conditions must hold."""
    match = item.match
    return (
        (match.source is None or match.source == rule.source)
        and (match.rule is None or match.rule == rule.name)
        and set(match.tags) <= set(rule.tags)
    )
