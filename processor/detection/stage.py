"""Evaluates events and reports what was lost and which rules failed: in `lanner run` and in a fleet alike.

Pure: no clock but a budget, no I/O.
"""

from collections import Counter
from collections.abc import Callable, Mapping
from types import MappingProxyType

from processor.detection.budget import BOUNDLESS, Budget
from processor.detection.pre_matcher import Admits, admit_all
from processor.detection.repeats import MessageRepeats, RepeatedAlerts
from processor.detection.ruleset import CompiledRuleset
from processor.detection.view import BatchView, EventView
from processor.matching.pre_match import Notice, PreMatch
from processor.output.internal_alerts import EVENTS_LOST, FACTS_MISSING, RULE_FAILED
from processor.sessions.sessions import Sessions
from schemas.alert import Alert
from schemas.batch import INCOMPLETE_REASONS, EventBatch
from schemas.catalog.fields import SYSCALL

_INCOMPLETE_TEXT = "facts about processes or containers were left out of events; none was lost"
_MOST_REASONS = 50
_LONGEST_SAMPLED_SECONDS = 0.5
"""Observers are not shown a batch that took longer to evaluate: they may evaluate it once more."""


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
