"""Samples the cost of each rule: now and then, a batch is evaluated by one rule alone and timed.

Rules are evaluated together and share common parts, so their cost cannot be separated in the real work. The sample is
the cost of a rule by itself, which is more than its share, but finds the most expensive rules.
"""

import time
from collections import defaultdict
from collections.abc import Callable, Mapping

from processor.compiler.batch import ClassMatcher, Match, compile_rules
from processor.detection.detector import Detector
from schemas.batch import EventBatch

INTERVAL = 0.5
"""Minimum seconds between two samples. A sample costs some 0.1 ms; a rule's first one some ms."""


class RuleTiming:
    """Samples the rules in turn, on the thread that evaluates."""

    def __init__(
        self,
        detector: Callable[[], Detector],
        *,
        clock: Callable[[], float] = time.perf_counter,
        interval: float = INTERVAL,
    ) -> None:
        """Begin.

        Args:
            detector: returns the active one; stateful rules are not measured.
            clock: seconds, fine enough for microseconds.
            interval: minimum time between two samples, s.
        """
        self.seconds: dict[str, float] = defaultdict(float)
        """By rule, the estimated cost of evaluating all events since its first sample."""
        self._current = detector
        self._detector: Detector | None = None
        self._clock = clock
        self._interval = interval
        self._next_at = 0.0
        self._turn = 0
        self._events = 0
        self._counted: dict[str, int] = {}
        self._matchers: dict[int, Mapping[str, ClassMatcher]] = {}

    def see(self, batch: EventBatch) -> None:
        """Sample a batch that was evaluated; most batches cost one reading of the clock."""
        self._events += batch.count
        if not batch.count or (now := self._clock()) < self._next_at:
            return
        self._next_at = now + self._interval
        detector = self._current()
        if detector is not self._detector:
            self._detector, self._turn, self._counted, self._matchers = detector, 0, {}, {}
        if not detector.conditions:
            return
        index = self._turn % len(detector.conditions)
        self._turn += 1
        self._measure(detector, index, batch)

    def _measure(self, detector: Detector, index: int, batch: EventBatch) -> None:
        name = detector.rule_names[index]
        matchers = self._matchers.get(index)
        if matchers is None:
            matchers = self._matchers[index] = compile_rules([detector.conditions[index]]).matchers
            # One-time costs, such as compiling regular expressions, are not part of the sample.
            _evaluate(batch, _bound(batch, matchers))
        began = self._clock()
        _evaluate(batch, _bound(batch, matchers))
        taken = self._clock() - began
        # The first sample of a rule counts for its own batch alone.
        since = self._events - self._counted.get(name, self._events - batch.count)
        self._counted[name] = self._events
        self.seconds[name] += taken / batch.count * since


def _bound(batch: EventBatch, matchers: Mapping[str, ClassMatcher]) -> Mapping[int, Match]:
    return {
        index: matcher.bind(batch, lambda _index, _problem: None)
        for index in set(batch.columns["type"])
        if (matcher := matchers.get(batch.strings[index] or "")) is not None
    }


def _evaluate(batch: EventBatch, bound: Mapping[int, Match]) -> None:
    for at, index in enumerate(batch.columns["type"]):
        if (match := bound.get(index)) is not None:
            match(at)
