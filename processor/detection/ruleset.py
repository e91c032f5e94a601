"""The active rules, compiled for detection and planned for correlation."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from processor.compiler.batch import Excludes
from processor.detection.detector import Detector
from processor.detection.pre_matcher import PreMatcher
from processor.language.ast import Node
from processor.rules.rule import DEFAULT_OPTIONS, LoadedMacro, Rule, RulesetOptions, correlations_of
from processor.rules.splitting import Plan, split_rules

if TYPE_CHECKING:  # most rules have no functions
    from processor.detection.python_rules import PythonRules


@dataclass(frozen=True, slots=True)
class CompiledRuleset:
    """The active rules: compiled for detection, and planned for correlation."""

    detector: Detector
    """Evaluates rules that one event decides."""
    pre_matcher: PreMatcher
    """Evaluates the parts of stateful rules that one event decides."""
    plan: Plan
    """The parts of stateful rules that windows decide."""
    python: "PythonRules | None" = None
    """Rules of Python files, and functions that enrich alerts; None if there are none."""

    @property
    def _sides(self) -> tuple[Detector | PreMatcher, ...]:
        return (self.detector, self.pre_matcher, *(() if self.python is None else (self.python,)))

    @property
    def event_types(self) -> frozenset[str]:
        """The event types that matter to any rule."""
        return frozenset[str]().union(*(each.event_types for each in self._sides))

    @property
    def exclusions(self) -> Mapping[str, Excludes]:
        """By event type that matters to a rule: whether an event of it can't match one."""
        found: dict[str, Excludes] = {}
        for event_type in self.event_types:
            sides = [each.compiled.matchers.get(event_type) for each in self._sides]
            found[event_type] = _all_exclude([each.excludes for each in sides if each is not None])
        return found

    @property
    def conditions(self) -> tuple[Node, ...]:
        """All evaluated conditions on system calls: an event for which none is true matters to no rule."""
        return tuple(condition for each in self._sides for condition in each.conditions)

    @property
    def sources(self) -> frozenset[str]:
        """The sources whose events matter to any rule."""
        return frozenset[str]().union(*(each.sources for each in self._sides))

    @property
    def active(self) -> tuple[tuple[str, str, str], ...]:
        """Each active rule with its priority and its source: those that one event decides, then the stateful ones."""
        python = () if self.python is None else self.python.active
        return (
            *self.detector.active,
            *python,
            *((rule.name, str(rule.priority), rule.source) for rule in self.plan.rules),
        )

    def names_of(self, *sources: str) -> tuple[str, ...]:
        """Return the names of the active rules on some sources; without any, of all rules."""
        return tuple(name for name, _, source in self.active if not sources or source in sources)

    def faults(self) -> Counter[str]:
        """Count, by rule or stateful macro, how often evaluating it raised."""
        return sum((each.faults for each in self._sides if each.faults), Counter[str]())

    def first_errors(self) -> dict[str, str]:
        """Return the first error of each rule or stateful macro that raised."""
        return {name: text for each in reversed(self._sides) for name, text in each.first_errors.items()}


def _all_exclude(parts: Sequence[Excludes]) -> Excludes:
    if len(parts) == 1:
        return parts[0]
    return lambda bits, name, process, is_host: all(part(bits, name, process, is_host) for part in parts)


def compile_ruleset(
    rules: Sequence[Rule], macros: Mapping[str, LoadedMacro], options: RulesetOptions = DEFAULT_OPTIONS
) -> CompiledRuleset:
    """Compile rules for both stages.

    Args:
        rules: enabled rules, in file order.
        macros: the macros that they use, by name.
        options: how to compile them.

    Raises:
        OutputError: a rule's output cannot be read.
    """
    selected = [rule for rule in rules if rule.priority <= options.minimum_priority]
    split = split_rules(selected, correlations_of(macros))
    plan = replace(split.plan, redact=options.redact, max_group_values=options.max_group_values)
    plain = [rule for rule in split.stateless if rule.python is None]
    functions = [rule for rule in split.stateless if rule.python is not None]
    python = None
    if functions or options.enrichments:
        from processor.detection.python_rules import PythonRules  # noqa: PLC0415

        python = PythonRules(functions, plain, options)
    return CompiledRuleset(Detector(plain, options), PreMatcher(plan, options), plan, python)
