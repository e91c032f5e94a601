"""Decides which events a rule matches because of new entries of its lists of indicators, and makes their alerts.

An event that the rule matches by former entries, too, was found when it arrived. An alert has the id that it would have
had then.

The entries that a list gains while `lanner run` runs are searched in this host's recording. The engine alone decides,
without DuckDB, which this host may lack: a recording has some hours of one host. A thread takes a tenth of a core, and
its alerts wait until the thread that evaluates events takes them.
"""

import pickle
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

from foundation.quantities import iso8601_zulu
from foundation.text import OnNote, count_of, printable
from lanner.errors import BadInput
from lanner.recorder.coverage import RecordingCoverage, not_collected
from lanner.recorder.store import EventRange, EventStore
from processor.compiler.batch import compile_rules
from processor.correlation.correlator import Correlator
from processor.detection.budget import BOUNDLESS, Budget
from processor.detection.repeats import RepeatedAlerts
from processor.detection.stage import CompiledRuleset, DetectStage
from processor.detection.view import BatchView
from processor.indicators.lists import Contents, IndicatorList
from processor.indicators.tables import Entry, Table
from processor.language.ast import checks, indicators_in
from processor.matching.pre_match import PreMatch
from processor.output.formatter import FOUND_LATER
from processor.pushdown.derive import derive
from processor.rule import Rule
from schemas.alert import Alert
from schemas.batch import EventBatch, subset

MAX_ALERTS = 1_000
"""The most alerts of a search."""
_REST = 9
"""The rest after a batch, in times that it took."""
_RECENT_MS = 60_000
"""How long before a change alerts are looked up: batches are evaluated soon after they were made."""


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


@dataclass(frozen=True, slots=True)
class _Gained:
    """A list whose file changed."""

    former: Table
    is_address: bool

    def was_known(self, text: str) -> bool:
        """Return whether the former file had an entry."""
        value = text.partition("/")[0] if self.is_address else text
        return any(each.text == text for each in self.former.find(value))

    def is_new(self, text: str) -> bool:
        """Return whether the former file had no such entry."""
        return not self.was_known(text)

    def counts(self, text: str) -> bool:  # noqa: ARG002  the file was read once
        """Return True."""
        return True


def own_rules(rules: Sequence[Rule]) -> list[Rule]:
    """Return copies of rules with lists of their own, which share the entries that are in memory."""
    copied: list[Rule] = pickle.loads(pickle.dumps(list(rules)))  # noqa: S301  this process made it
    return copied


class RecordedSearch:
    """Searches after each change of a list; `take` returns what it found."""

    def __init__(
        self,
        store: EventStore,
        rules: Callable[[], Sequence[SearchedRule]],
        repeats: Callable[[], RepeatedAlerts],
        note: OnNote,
        *,
        rest: float = _REST,
    ) -> None:
        """Wait for the first change.

        Args:
            store: the recording.
            rules: returns the rules that use lists, with lists of their own.
            repeats: returns what decides which alerts repeat others.
            note: receives what was searched.
            rest: how long to rest after a batch, in times that it took.
        """
        self._store = store
        self._rules = rules
        self._repeats = repeats
        self._note = note
        self._rest = rest
        self._lock = threading.Lock()
        self._former: dict[str, tuple[Contents, int]] = {}
        """By list that changed: what it held before, and when it changed, ms since the epoch."""
        self._found: deque[Alert] = deque()
        self._due, self._stopped = threading.Event(), threading.Event()
        threading.Thread(target=self._run, name="lanner-recorded-search", daemon=True).start()

    def changed(self, indicators: IndicatorList, former: Contents) -> None:
        """Search for what a list has now and did not have before."""
        with self._lock:
            self._former.setdefault(indicators.spec.name, (former, time.time_ns() // 1_000_000))
        self._due.set()

    def take(self) -> Iterator[Alert]:
        """Yield the alerts that were found since the last call."""
        while self._found:
            yield self._found.popleft()

    def stop(self) -> None:
        """End the search."""
        self._stopped.set()
        self._due.set()

    def _run(self) -> None:
        while not self._stopped.is_set():
            self._due.wait()
            self._due.clear()
            with self._lock:
                former, self._former = self._former, {}
            try:
                self._search(former)
            except BadInput as error:
                self._note(f"the recording could not be searched for new indicators: {error}", "warning")

    def _search(self, former: Mapping[str, tuple[Contents, int]]) -> None:
        rules = [each for each in self._rules() if any(one.spec.name in former for one in each.lists)]
        lists = {one for each in rules for one in each.lists if one.spec.name in former}
        new = {one: _Gained(former[one.spec.name][0].table, one.kind == "address") for one in lists}
        count = sum(gained.is_new(text) for one, gained in new.items() for text in one.contents.table.texts())
        if not count or self._stopped.is_set():
            return
        until = max(changed for _, changed in former.values())
        recent = {each.id for each in self._store.alerts(EventRange(until - _RECENT_MS), self._stopped.is_set)}
        searches = [NewMatches(each, new, self._repeats()) for each in rules]
        coverage = RecordingCoverage()
        found: list[Alert] = []
        for stored in self._store.batches(EventRange(0), self._stopped.is_set):
            if stored.appended > until or len(found) >= MAX_ALERTS:
                break
            began = time.thread_time()
            coverage.see(stored)
            for each in searches:
                found += each.alerts(stored.batch, range(stored.batch.count))
            self._stopped.wait(self._rest * (time.thread_time() - began))
        for each in searches:
            found += each.finish()
        if self._stopped.is_set():
            return
        now = time.time_ns()
        fresh = [marked(each, now) for each in found if each.id not in recent]
        self._found += fresh
        names = ", ".join(sorted(one.spec.name for one in lists))
        text = f"{count_of(count, 'new entry', 'new entries')} of {names} searched for in the recording: "
        conditions = [each.rule.condition for each in rules]
        types = frozenset(compile_rules(conditions).matchers)
        missing = map(printable, not_collected(types, derive(conditions, types), coverage.hosts))
        self._note("; not seen: ".join([text + count_of(len(fresh), "alert"), *missing]) + ".")
