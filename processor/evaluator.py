"""Compiles rules for both stages, and runs both stages in one process."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from processor.compiler.batch import Excludes
from processor.correlation.correlator import Correlator
from processor.correlation.state import room_notices
from processor.detection.budget import Budget
from processor.detection.detector import Detector
from processor.detection.pre_matcher import Admits, PreMatcher, admit_all
from processor.detection.repeats import MessageRepeats, RepeatedAlerts
from processor.detection.stage import DetectStage
from processor.detection.view import BatchView, EventView, view_of
from processor.fields.json.documents import Document
from processor.language.ast import Node
from processor.matching.gathered import SeenKey
from processor.matching.pre_match import PreMatch
from processor.rules.rule import DEFAULT_OPTIONS, MacroProtocol, RuleProtocol, RulesetOptions, correlations_of
from processor.rules.splitting import Plan, split_rules
from processor.sessions.sessions import People, Sessions
from schemas.alert import Alert
from schemas.batch import EventBatch


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

    def find_alerts(
        self, view: EventView, budget: Budget, repeats: MessageRepeats, people: People | None = None
    ) -> list[Alert]:
        """Evaluate the rules that one event decides; alerts are the budget's. Raises OverBudget."""
        return self.detector.process(view, budget, repeats, people)

    def find_pre_matches(self, view: EventView, budget: Budget, admits: Admits = admit_all) -> Iterator[PreMatch]:
        """Return the events that correlation needs. Raises OverBudget while they are read."""
        return self.pre_matcher.process(view, budget, admits)

    def forget_sent(self, values: Iterable[SeenKey]) -> None:
        """Return values of first_seen again when they come: they were left out."""
        self.pre_matcher.forget_sent(values)

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
    rules: Sequence[RuleProtocol], macros: Mapping[str, MacroProtocol], options: RulesetOptions = DEFAULT_OPTIONS
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


class Evaluator:
    """Both stages in one process: for one host, for replay and for rule tests."""

    def __init__(
        self, rules: CompiledRuleset, repeats: RepeatedAlerts | None = None, sessions: Sessions | None = None
    ) -> None:
        """Begin with no window state.

        Args:
            rules: the active rules.
            repeats: decides which alerts repeat others; None to return all.
            sessions: names people in alerts; None to name nobody.
        """
        self.rules = rules
        """The active rules."""
        self._stage = DetectStage(rules, repeats, sessions)
        self.repeats = self._stage.repeats
        """Decides which alerts repeat others."""
        self.lost = self._stage.lost
        """Losses that batches reported, by reason."""
        self.add_observer = self._stage.add_observer
        self._hostname = ""
        self._newest = 0
        self.correlator = Correlator(rules.plan)

    def process(self, events: EventBatch | Document, now: int | None = None) -> list[Alert]:
        """Evaluate the events of a batch, or a document; alerts that one event decides come first.

        Args:
            events: a validated batch, or a document.
            now: when they arrived, ns since the epoch; None if events are the clock.
        """
        view = view_of(events, now or 0)
        pre_matches: list[PreMatch] = []
        found = self._stage.evaluate(view, pre_matches.append)
        if isinstance(events, Document):
            pre_matches += view.notices(() if now is None else self._stage.notices(view))
        if pre_matches:
            found += self.correlator.process(pre_matches, now)
        return found

    def report(self, batch: EventBatch, now: int) -> list[Alert]:
        """Return the internal alerts that are due after a batch was processed: losses, and rules that raised.

        Args:
            batch: the batch.
            now: when it arrived, ns since the epoch.
        """
        self._hostname = batch.hostname
        view = BatchView(batch)
        notices = view.notices(self._stage.notices(view))
        return self.correlator.process(notices, now) if notices else []

    def advance_to(self, now: int) -> list[Alert]:
        """Close the periods that are over, and report groups that were evicted. now: ns since the epoch."""
        found = self.correlator.tick(now)
        notices = list(room_notices(self.correlator.state, now, ("", now, 0), hostname=self._hostname))
        return found + self.correlator.process(notices, now) if notices else found

    def flush_notices(self) -> list[Alert]:
        """Return the internal alerts that are summed but not yet due, and drop the sums."""
        return self.correlator.flush_notices()

    def replay(self, events: EventBatch | Document) -> list[Alert]:
        """Evaluate a recorded batch or document, whose events are the clock."""
        found = self.process(events)
        times = (events.time,) if isinstance(events, Document) else events.columns["time"]
        if times:
            # Batches of several hosts overlap; that does not mean that a clock was set back.
            self._newest = max(self._newest, *times)
            found += self.correlator.tick(self._newest)
        return found

    def change_rules(self, rules: CompiledRuleset) -> None:
        """Evaluate other rules from now on; unchanged stateful macros keep their windows."""
        self.rules = rules
        self._stage.change_rules(rules)
        self.correlator.change_rules(rules.plan)
