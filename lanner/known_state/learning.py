"""Compute the values that macros of type first_seen would know if they had been active for retained events."""

from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import replace

from lanner.recorder.coverage import RecordingCoverage, not_collected
from lanner.recorder.store import StoredBatch
from processor.correlation.correlator import Correlator
from processor.detection.pre_matcher import PreMatcher
from processor.detection.view import BatchView
from processor.matching.pre_match import PreMatch, SeenValue, StateCommand, command_about
from processor.pushdown.derive import derive
from processor.splitting import Plan, StatefulMacro


def learning_macros(plan: Plan) -> tuple[StatefulMacro, ...]:
    """Return the macros that learn."""
    return tuple(macro for macro in plan.macros if macro.correlation.kind.remembers_values)


class Learner:
    """Evaluates the stateful macros of rules on batches, in the order in which they arrived."""

    def __init__(self, plan: Plan, owners: Collection[str]) -> None:
        """Begin. owners: fingerprints of the macros to learn for."""
        without_rules = replace(plan, rules=())
        self._owners = owners
        self._matcher = PreMatcher(without_rules)
        self._correlator = Correlator(without_rules)
        self._coverage = RecordingCoverage()

    @property
    def values(self) -> int:
        """The number of values known."""
        return len(self._correlator.sightings)

    def take(self, stored: StoredBatch) -> None:
        """Evaluate a batch that has its append time."""
        self._coverage.see(stored)
        self._correlator.process(self._matcher.process(BatchView(stored.batch)), stored.batch.appended)

    def not_collected(self) -> list[str]:
        """Return what of the events that the macros need was not collected; events that were lost don't count."""
        hosts = {key: replace(host, lost=Counter(), missing=0) for key, host in self._coverage.hosts.items()}
        needed = derive(self._matcher.conditions, self._matcher.event_types)
        return not_collected(self._matcher.event_types, needed, hosts)

    def commands(self) -> Iterator[PreMatch]:
        """Yield what to send to the correlate stage: all values first, then when their groups began.

        A group that began in the past no longer learns, so that a value that followed would be new. If not all events
        were collected, more values than these may be known, and learning goes on.
        """
        begun = []
        is_complete = not self.not_collected()
        for (owner, group, value), host, record in self._correlator.sightings.records():
            if owner not in self._owners:
                continue
            if isinstance(record, SeenValue):
                yield command_about(StateCommand("learn", owner, value), group, host, record.seen * 10**9)
            elif is_complete:
                begun.append(command_about(StateCommand("begin", owner), group, host, record.begun))
        yield from begun
