"""Decides which events a rule matches because of new entries of its lists of indicators, and makes their alerts.

An event that the rule matches by former entries, too, was found when it arrived. An alert has the id that it would have
had then.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

from foundation.quantities import iso8601_zulu
from processor.correlation.correlator import Correlator
from processor.detection.budget import BOUNDLESS, Budget
from processor.detection.repeats import RepeatedAlerts
from processor.detection.stage import CompiledRuleset, DetectStage
from processor.detection.view import BatchView
from processor.indicators.lists import IndicatorList
from processor.indicators.tables import Entry
from processor.language.ast import checks, indicators_in
from processor.matching.pre_match import PreMatch
from processor.output.formatter import FOUND_LATER
from processor.rule import Rule
from schemas.alert import Alert
from schemas.batch import EventBatch, subset


class EntryTests(Protocol):
    """Tests of the entries of a list, by their texts."""

    def is_new(self, text: str) -> bool:
        """Return whether an entry is searched for."""

    def was_known(self, text: str) -> bool:
        """Return whether an entry was there before."""

    def counts(self, text: str) -> bool:
        """Return whether an entry is one of both; others came while the search was under way."""


@dataclass(frozen=True, slots=True)
class SearchedRule:
    """A rule that one event decides, compiled alone."""

    rule: Rule
    ruleset: CompiledRuleset

    @property
    def lists(self) -> tuple[IndicatorList, ...]:
        """The lists of indicators that it uses."""
        found = (each for check in checks(self.rule.condition) for each in indicators_in(check))
        return tuple({id(each): each for each in found}.values())


class _StoredView(BatchView):
    """Some events of a batch, with the identity that each had among all."""

    def __init__(self, batch: EventBatch, positions: Sequence[int]) -> None:
        super().__init__(batch)
        self._positions = positions

    def identity(self, index: int) -> tuple[int, tuple[str | int, ...]]:
        """Return the time of an event and its position among those of its collector."""
        batch = self.batch
        position = batch.first_index + self._positions[index]
        return self._times[index], (batch.host_id, batch.boot_id, batch.collector_start, batch.sequence, position)


class NewMatches:
    """The new matches of one rule in stored batches; used by one thread. Nobody else uses its rule and its lists."""

    def __init__(self, rule: SearchedRule, new: Mapping[IndicatorList, EntryTests], repeats: RepeatedAlerts) -> None:
        """Begin without matches.

        Args:
            rule: the rule.
            new: the lists that have new entries.
            repeats: decides which alerts repeat others.
        """
        self.faults = 0
        """Events that could not be evaluated."""
        self._rule = rule
        self._new = new
        self._stage = DetectStage(rule.ruleset, repeats)
        self._correlator = Correlator(rule.ruleset.plan)

    def alerts(self, batch: EventBatch, positions: Sequence[int]) -> list[Alert]:
        """Return the alerts of a batch, or of some of its events. positions: the place of each in the whole batch."""
        new = self._hits(batch, "counts")
        if new:
            new -= self._hits(batch, "was_known")
        if not new:
            return []
        indexes = sorted(new)
        chosen = subset(batch, indexes)
        chosen.numbers = [batch.numbers[at] if batch.numbers else batch.first_number + at for at in indexes]
        pre_matches: list[PreMatch] = []
        restrict(self._new, "counts")
        found = self._stage.evaluate(_StoredView(chosen, [positions[at] for at in indexes]), pre_matches.append)
        return found + self._correlator.process(pre_matches)

    def finish(self) -> list[Alert]:
        """Return the summaries of alerts that repeat others."""
        return self._correlator.finish()

    def _hits(self, batch: EventBatch, which: str) -> set[int]:
        restrict(self._new, which)
        compiled = self._rule.ruleset.detector.compiled
        return {index for index, _ in BatchView(batch).hits(compiled, self._fault, Budget(BOUNDLESS))}

    def _fault(self, _: int, __: BaseException) -> None:
        self.faults += 1


def restrict(new: Mapping[IndicatorList, EntryTests], which: str) -> None:
    """Make lists ignore entries that fail a test. which: the name of the test."""
    for indicators, tests in new.items():
        indicators.accepts = _accepting(getattr(tests, which))


def _accepting(test: Callable[[str], bool]) -> Callable[[Entry], bool]:
    return lambda entry: test(entry.text)


def marked(alert: Alert, now: int) -> Alert:
    """Return an alert that states when it was found. now: ns since the epoch."""
    fields: dict[str, Any] = {**alert.output_fields, FOUND_LATER: iso8601_zulu(now)}
    return replace(alert, output=f"{alert.output} indicator_found_later={fields[FOUND_LATER]}", output_fields=fields)
