"""The active rules, compiled for detection and planned for correlation."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from processor.compiler.batch import Excludes
from processor.detection.detector import Detector
from processor.detection.pre_matcher import PreMatcher
from processor.language.ast import Node
from processor.rules.rule import DEFAULT_OPTIONS, LoadedMacro, Rule, RulesetOptions, correlations_of
from processor.rules.splitting import Plan, split_rules


@dataclass(frozen=True, slots=True)
class CompiledRuleset:
    """The active rules: compiled for detection, and planned for correlation."""

    detector: Detector
    """Evaluates rules that one event decides."""
    pre_matcher: PreMatcher
    """Evaluates the parts of stateful rules that one event decides."""
    plan: Plan
    """The parts of stateful rules that windows decide."""

    @property
    def event_types(self) -> frozenset[str]:
        """The event types that matter to any rule."""
        return self.detector.event_types | self.pre_matcher.event_types

    @property
    def exclusions(self) -> Mapping[str, Excludes]:
        """By event type that matters to a rule: whether an event of it can't match one."""
        found: dict[str, Excludes] = {}
        for event_type in self.event_types:
            sides = [each.compiled.matchers.get(event_type) for each in (self.detector, self.pre_matcher)]
            found[event_type] = _all_exclude([each.excludes for each in sides if each is not None])
        return found

    @property
    def conditions(self) -> tuple[Node, ...]:
        """All evaluated conditions on system calls: an event for which none is true matters to no rule."""
        return (*self.detector.conditions, *self.pre_matcher.conditions)

    @property
    def sources(self) -> frozenset[str]:
        """The sources whose events matter to any rule."""
        return self.detector.sources | self.pre_matcher.sources

    @property
    def active(self) -> tuple[tuple[str, str, str], ...]:
        """Each active rule with its priority and its source: those that one event decides, then the stateful ones."""
        return (*self.detector.active, *((rule.name, str(rule.priority), rule.source) for rule in self.plan.rules))

    def names_of(self, *sources: str) -> tuple[str, ...]:
        """Return the names of the active rules on some sources; without any, of all rules."""
        return tuple(name for name, _, source in self.active if not sources or source in sources)

    def faults(self) -> Counter[str]:
        """Count, by rule or stateful macro, how often evaluating it raised."""
        return self.detector.faults + self.pre_matcher.faults

    def first_errors(self) -> dict[str, str]:
        """Return the first error of each rule or stateful macro that raised."""
        return self.pre_matcher.first_errors | self.detector.first_errors


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
    return CompiledRuleset(Detector(split.stateless, options), PreMatcher(plan, options), plan)
