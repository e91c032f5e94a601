"""Rules compiled for both stages, and both stages in one process."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType

from processor.correlation.correlator import Correlator
from processor.correlation.plan.spec import Correlation, Suppress
from processor.correlation.plan.split import Plan, split_rules
from processor.correlation.pre_matcher import PreMatcher
from processor.detection.detector import Detector, RuleMatching
from processor.detection.redaction import Redact, unredacted
from processor.detection.repeats import RepeatedAlerts
from processor.language.ast import Node
from processor.loading.priority import Priority
from processor.rule import RuleProtocol
from schemas.alert import Alert
from schemas.batch import EventBatch


@dataclass(frozen=True, slots=True)
class CompiledRuleset:
    """What finds alerts in events, and what goes on to correlation."""

    detector: Detector
    """Of rules that one event decides."""
    pre_matcher: PreMatcher
    """Of rules with memory, as far as one event decides."""
    plan: Plan
    """Of rules with memory, what windows decide."""

    @property
    def event_types(self) -> frozenset[str]:
        """The event types that matter to any rule."""
        return self.detector.event_types | self.pre_matcher.event_types

    @property
    def conditions(self) -> tuple[Node, ...]:
        """All that is judged: an event for which none of it is true matters to no rule."""
        return (*self.detector.conditions, *self.pre_matcher.conditions)

    @property
    def rule_names(self) -> tuple[str, ...]:
        """The rules in force: those that one event decides, then those with memory, each in their order."""
        return (*self.detector.rule_names, *(rule.name for rule in self.plan.rules))

    @property
    def priorities(self) -> tuple[tuple[str, str], ...]:
        """Each rule in force with its priority."""
        return (*self.detector.priorities, *((rule.name, str(rule.priority)) for rule in self.plan.rules))

    def faults(self) -> Counter[str]:
        """Count, by rule or stateful macro, how often judging it raised."""
        return self.detector.faults + self.pre_matcher.faults


def compile_ruleset(
    rules: Sequence[RuleProtocol],
    correlations: Mapping[str, Correlation],
    suppressed: Mapping[str, Suppress],
    *,
    minimum_priority: Priority = Priority.DEBUG,
    rule_matching: RuleMatching = "first",
    append_container: bool = True,
    extra_fields: Mapping[str, Mapping[str, str | None]] = MappingProxyType({}),
    redact: Redact = unredacted,
) -> CompiledRuleset:
    """Compile rules for both stages.

    Args:
        rules: enabled rules, in file order; those below the floor and of other sources are left out.
        correlations: of stateful macros, by name.
        suppressed: of rules that say how their repeats are told, by name.
        minimum_priority: the floor; the gravest is the smallest.
        rule_matching: of the rules that one event decides; the others neither stop nor are stopped.
        append_container: write container and pod at the end of each output that does not name them.
        extra_fields: by rule, output fields that its text doesn't name: name to format, None for the field itself.
        redact: masks an alert; rules judge what was there before.

    Raises:
        OutputError: a rule's output cannot be read.
    """
    kept = [rule for rule in rules if rule.priority <= minimum_priority and rule.source == "syscall"]
    split = split_rules(kept, correlations, suppressed)
    detector = Detector(
        split.stateless,
        rule_matching=rule_matching,
        append_container=append_container,
        extra_fields=extra_fields,
        redact=redact,
    )
    pre_matcher = PreMatcher(split.plan, append_container=append_container, extra_fields=extra_fields)
    return CompiledRuleset(detector, pre_matcher, replace(split.plan, redact=redact))


class Evaluator:
    """Both stages, one behind the other: for one host, for replay and for rule tests."""

    def __init__(self, judges: CompiledRuleset, repeats: RepeatedAlerts | None = None) -> None:
        """Begin without memory.

        Args:
            judges: the rules.
            repeats: decides which alerts repeat others; None to return all.
        """
        self.repeats = RepeatedAlerts(None) if repeats is None else repeats
        self._judges = judges
        self._newest = 0
        self.correlator = Correlator(judges.plan)

    @property
    def judges(self) -> CompiledRuleset:
        """The rules in force."""
        return self._judges

    def process(self, batch: EventBatch, now: int | None = None) -> list[Alert]:
        """Judge all events of a batch: alerts that one event decides come first.

        Args:
            batch: a validated batch.
            now: when it arrived, ns since the epoch; None where its events are the clock.
        """
        repeats = self.repeats.of_batch(batch)
        found = self._judges.detector.process(batch, repeats=repeats)
        pre_matches = [*self._judges.pre_matcher.process(batch), *repeats.pre_matches()]
        if pre_matches:
            found += self.correlator.process(pre_matches, now)
        return found

    def replay(self, batch: EventBatch) -> list[Alert]:
        """Judge a batch of former times, whose events are the clock.

        Args:
            batch: a validated batch.
        """
        found = self.process(batch)
        if batch.count:
            # Batches of several hosts overlap: that is no clock that was set back.
            self._newest = max(self._newest, *batch.columns["time"])
            found += self.correlator.tick(self._newest)
        return found

    def change_rules(self, judges: CompiledRuleset) -> None:
        """Go on with other rules; unchanged stateful macros keep their windows."""
        self._judges = judges
        self.correlator.change_rules(judges.plan)
