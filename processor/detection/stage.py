"""The active rules, compiled, and the stage that evaluates events by them: in `lanner run` and in a fleet alike.

The stage also reports what was lost and which rules failed. Pure: no clock but a budget, no I/O.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import TYPE_CHECKING

from processor.compiler.batch import Excludes
from processor.detection.budget import BOUNDLESS, Budget
from processor.detection.detector import Detector
from processor.detection.pre_matcher import Admits, PreMatcher, admit_all
from processor.detection.repeats import MessageRepeats, RepeatedAlerts
from processor.detection.view import BatchView, EventView
from processor.language.ast import Node
from processor.matching.pre_match import Notice, PreMatch
from processor.output.internal_alerts import EVENTS_LOST, FACTS_MISSING, RULE_FAILED
from processor.rule import DEFAULT_OPTIONS, LoadedMacro, Rule, RulesetOptions, correlations_of
from processor.sessions.sessions import Sessions
from processor.splitting import Plan, split_rules
from schemas.alert import Alert
from schemas.batch import INCOMPLETE_REASONS, EventBatch
from schemas.catalog.fields import SYSCALL

if TYPE_CHECKING:
    from processor.detection.python_rules import PythonRules

_INCOMPLETE_TEXT = "facts about processes or containers were left out of events; none was lost"
_MOST_REASONS = 50
_LONGEST_SAMPLED_SECONDS = 0.5
"""Observers are not shown a batch that took longer to evaluate: they may evaluate it once more."""


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


class DetectStage:
    """Evaluates batches and documents one after the other by the active rules."""

    def __init__(
        self, rules: CompiledRuleset, repeats: RepeatedAlerts | None = None, sessions: Sessions | None = None
    ) -> None:
        """Begin.

        Args:
            rules: the active rules.
            repeats: decides which alerts repeat others; None to send all.
            sessions: names people in alerts; None to name nobody.
        """
        self._sessions = sessions
        self.repeats = RepeatedAlerts(None) if repeats is None else repeats
        self.events = 0
        """System calls evaluated, with those that they stand for."""
        self.lost: Counter[str] = Counter()
        """Losses that batches reported, by reason."""
        self.rules = rules
        """The active rules."""
        if rules.python is not None:
            rules.python.begin()
        self._reported_faults: Mapping[str, int] = {}
        self._observers: list[Callable[[EventBatch], None]] = []

    def change_rules(self, rules: CompiledRuleset) -> None:
        """Evaluate other rules from the next events on."""
        if self.rules.python is not None:
            self.rules.python.close()
        self.rules = rules
        if rules.python is not None:
            rules.python.begin()
        self._reported_faults = {}

    def add_observer(self, observer: Callable[[EventBatch], None]) -> None:
        """Call an observer with each batch after it was evaluated, unless that took long."""
        self._observers.append(observer)

    def evaluate(
        self,
        view: EventView,
        send: Callable[[PreMatch], object],
        budget: Budget | None = None,
        admits: Admits = admit_all,
        repeats: MessageRepeats | None = None,
    ) -> list[Alert]:
        """Evaluate all events of a batch or document.

        Args:
            view: the events.
            send: called with each event, or count of repeated alerts, that correlation needs.
            budget: what they may cost; its alerts are those found, also where it is exceeded. None for no limits.
            admits: returns whether stateful rules are evaluated on an event, as for PreMatcher.process.
            repeats: counts repeated alerts of several documents, for the caller to send; None to send them here.

        Returns:
            The alerts of rules that one event decides.

        Raises:
            OverBudget: they cost more; what was found before is valid.
        """
        budget = Budget(BOUNDLESS) if budget is None else budget
        people = None if self._sessions is None else view.people(self._sessions)
        counted = self.repeats.begin() if repeats is None else repeats
        self.events += view.total if view.source == SYSCALL else 0
        try:
            self.rules.detector.process(view, budget, counted, people)
            if self.rules.python is not None:
                self.rules.python.process(view, budget, counted, people)
                self.rules.python.enrich(budget)
            for pre_match in self.rules.pre_matcher.process(view, budget, admits):
                send(pre_match if people is None else people.name_pre_match(pre_match))
        finally:
            # Alerts that were counted instead of sent must be summed even if the rest of the batch fails.
            for pre_match in counted.pre_matches() if repeats is None else ():
                send(pre_match)
        if self._observers and isinstance(view, BatchView) and budget.elapsed < _LONGEST_SAMPLED_SECONDS:
            for observer in self._observers:
                observer(view.batch)
        return budget.alerts

    def notices(
        self, view: EventView, missing: Mapping[str, int] = MappingProxyType({}), text: str = ""
    ) -> list[Notice]:
        """Return what is to be reported after events: losses, and rules that raised since the last call.

        Args:
            view: the events that were evaluated.
            missing: losses that they do not report themselves, by reason.
            text: describes them.
        """
        found: list[Notice] = []
        lost = {reason: number for reason, number in (*view.lost.items(), *missing.items()) if number > 0}
        if lost:
            for reason, number in lost.items():
                # A host that invents reasons takes no memory.
                is_named = reason in self.lost or len(self.lost) < _MOST_REASONS
                self.lost[reason if is_named else "other"] += number
        incomplete = {reason: lost.pop(reason) for reason in INCOMPLETE_REASONS & lost.keys()}
        if lost:
            found.append(Notice(EVENTS_LOST, "Warning", lost, text))
        if incomplete:
            found.append(Notice(FACTS_MISSING, "Warning", incomplete, _INCOMPLETE_TEXT))
        faults, known = self.rules.faults(), self._reported_faults
        if fresh := {rule: n for rule, number in faults.items() if (n := number - known.get(rule, 0)) > 0}:
            self._reported_faults = faults
            rule = min(fresh)
            error = self.rules.first_errors().get(rule, "")
            failed = f"rules raised errors and were skipped for those events; the first error of {rule!r}: {error}"
            found.append(Notice(RULE_FAILED, "Error", fresh, failed))
        return found
