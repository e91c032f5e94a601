"""The results of loading: rules with their complete conditions, and the final macros and lists."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal

from foundation.text import is_like
from foundation.yaml.nodes import ScalarNode, SourceLocation
from processor.actions.policies import ActionPolicy
from processor.loading.definitions import PluginRequirement
from processor.loading.problems import Problem
from processor.rule import Enrichment, LoadedMacro, Rule
from schemas.catalog.priorities import Priority

if TYPE_CHECKING:
    from processor.indicators.lists import IndicatorList


@dataclass(frozen=True, slots=True)
class LoadedList:
    """A list after all appends and redefinitions."""

    name: str
    items: tuple[str, ...]
    location: SourceLocation = field(compare=False)
    nodes: tuple[ScalarNode, ...] = field(compare=False, repr=False)
    """Where each item was written."""


@dataclass(frozen=True, slots=True)
class LoadedIndicators:
    """A list of indicators and where its file is named."""

    indicators: "IndicatorList"
    location: SourceLocation = field(compare=False)


@dataclass(frozen=True, slots=True)
class FileResult:
    """The problems of one file; an engine that loads file by file stops at the first that is not ok."""

    name: str
    errors: tuple[Problem, ...]
    warnings: tuple[Problem, ...]

    @property
    def ok(self) -> bool:
        """True if it has no error."""
        return not self.errors


@dataclass(frozen=True, slots=True)
class Redefinition:
    """A list, macro or rule that is defined again, in the same or a later file; the later definition replaces it."""

    type: str
    name: str
    location: SourceLocation
    earlier: SourceLocation


@dataclass(frozen=True, slots=True)
class LoadResult:
    """The rules of a set of files, and all their problems."""

    files: tuple[FileResult, ...]
    errors: tuple[Problem, ...]
    warnings: tuple[Problem, ...]
    rules: tuple[Rule, ...]
    """In the order of their first definitions; rules with errors are omitted."""
    macros: Mapping[str, LoadedMacro]
    lists: Mapping[str, LoadedList]
    infos: tuple[Problem, ...] = ()
    """Facts that are worth knowing, but no reason to change the files."""
    required_plugins: tuple[tuple[PluginRequirement, ...], ...] = ()
    """The plugins that the files require, one of each group. Plugins are not supported."""
    redefinitions: tuple[Redefinition, ...] = ()
    indicators: Mapping[str, LoadedIndicators] = field(default_factory=dict)
    enrichments: tuple[Enrichment, ...] = ()
    actions: tuple[ActionPolicy, ...] = ()
    """In the order of their files."""

    @property
    def ok(self) -> bool:
        """True if there is no error."""
        return not self.errors

    def with_problems(self, problems: Iterable[Problem]) -> "LoadResult":
        """Return the result with further errors and warnings, also added to those of their files."""
        more = tuple(dict.fromkeys(problems))
        errors = tuple(problem for problem in more if problem.code.severity == "error")
        warnings = tuple(problem for problem in more if problem.code.severity == "warning")
        files = tuple(_with_problems(file, errors, warnings) for file in self.files)
        return replace(self, files=files, errors=(*self.errors, *errors), warnings=(*self.warnings, *warnings))


def _with_problems(file: FileResult, errors: Iterable[Problem], warnings: Iterable[Problem]) -> FileResult:
    new = (error for error in errors if error.file == file.name and error not in file.errors)
    return replace(
        file,
        errors=tuple(sorted((*file.errors, *new), key=lambda error: (error.line, error.column))),
        warnings=(*file.warnings, *(warning for warning in warnings if warning.file == file.name)),
    )


@dataclass(frozen=True, slots=True)
class Switch:
    """Enables or disables rules, by name or by tag."""

    enable: bool
    by: Literal["rule", "tag"]
    pattern: str
    """A complete rule name in which `*` matches any text, or an exact tag."""

    def matches(self, rule: Rule) -> bool:
        """Return whether it applies to a rule."""
        if self.by == "tag":
            return self.pattern in rule.tags
        return is_like(rule.name, self.pattern)


def apply_switches(rules: Iterable[Rule], switches: Sequence[Switch]) -> tuple[Rule, ...]:
    """Enable and disable rules; later switches take precedence."""
    return tuple(_switched(rule, switches) for rule in rules)


def _switched(rule: Rule, switches: Sequence[Switch]) -> Rule:
    enabled = rule.enabled
    for switch in switches:
        if switch.matches(rule):
            enabled = switch.enable
    return rule if enabled == rule.enabled else replace(rule, enabled=enabled)


def select(
    rules: Iterable[Rule], switches: Sequence[Switch] = (), floor: Priority = Priority.DEBUG
) -> tuple[Rule, ...]:
    """Return the rules to run, in order, without those of lower severity than the floor."""
    return tuple(rule for rule in apply_switches(rules, switches) if rule.enabled and rule.priority <= floor)


def unmatched(rules: Iterable[Rule], switches: Iterable[Switch]) -> tuple[Switch, ...]:
    """Return the switches that apply to no rule, most likely because of a misspelled name."""
    known = tuple(rules)
    return tuple(switch for switch in switches if not any(switch.matches(rule) for rule in known))
