"""What each rule costs, by sample: a batch now and then is judged by one rule alone, with the clock beside it.

Rules are judged together and share what they have in common, so no clock could tell them apart in the real work. What
is measured here is what a rule would cost by itself, which is more than its share; to find the dear ones that is what
one wants to know.
"""

import time
from collections import defaultdict
from collections.abc import Callable, Mapping

from processor.compiler.batch import ClassMatcher, Match, compile_rules
from processor.detection.detector import Detector
from schemas.batch import EventBatch

INTERVAL = 0.5
"""Seconds between two samples at least: one costs some tenths of a millisecond, a rule's first some milliseconds."""


class RuleTiming:
    """Takes turns with the rules; everything happens on the thread that judges."""

    def __init__(
        self,
        detector: Callable[[], Detector],
        *,
        clock: Callable[[], float] = time.perf_counter,
        interval: float = INTERVAL,
    ) -> None:
        """Begin.

        Args:
            detector: gives the one in force; rules with memory are not measured.
            clock: seconds, fine enough for microseconds.
            interval: between two samples at least, seconds.
        """
        self.seconds: dict[str, float] = defaultdict(float)
        """By rule: what judging all events since its first sample would have cost, as far as samples tell."""
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
        """Take a batch that has been judged; most pass at the price of a look at the clock."""
        self._events += batch.count
        if not batch.count or (now := self._clock()) < self._next_at:
            return
        self._next_at = now + self._interval
        detector = self._current()
        if detector is not self._detector:
            self._detector, self._turn, self._counted, self._matchers = detector, 0, {}, {}
        if not detector.conditions:
            return
        place = self._turn % len(detector.conditions)
        self._turn += 1
        self._measure(detector, place, batch)

    def _measure(self, detector: Detector, place: int, batch: EventBatch) -> None:
        name = detector.rule_names[place]
        matchers = self._matchers.get(place)
        if matchers is None:
            matchers = self._matchers[place] = compile_rules([detector.conditions[place]]).matchers
            # What is only paid once, such as a regular expression's compilation, is no part of the sample.
            _judge(batch, _bound(batch, matchers))
        began = self._clock()
        _judge(batch, _bound(batch, matchers))
        taken = self._clock() - began
        # The first sample of a rule stands for its own batch alone.
        since = self._events - self._counted.get(name, self._events - batch.count)
        self._counted[name] = self._events
        self.seconds[name] += taken / batch.count * since


def _bound(batch: EventBatch, matchers: Mapping[str, ClassMatcher]) -> Mapping[int, Match]:
    return {
        index: matcher.bind(batch, lambda _place, _problem: None)
        for index in set(batch.columns["type"])
        if (matcher := matchers.get(batch.strings[index] or "")) is not None
    }


def _judge(batch: EventBatch, bound: Mapping[int, Match]) -> None:
    for at, index in enumerate(batch.columns["type"]):
        if (match := bound.get(index)) is not None:
            match(at)
