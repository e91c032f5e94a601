"""Searches this host's recording for the entries that a list of indicators gains while `lanner run` runs.

The engine alone decides, without DuckDB, which this host may lack: a recording has some hours of one host. A thread
takes a tenth of a core, and its alerts wait until the thread that evaluates events takes them.
"""

import pickle
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from foundation.text import OnNote, count_of, printable
from lanner.errors import BadInput
from lanner.hunting.new_matches import NewMatches, SearchedRule, marked
from lanner.recorder.coverage import RecordingCoverage, not_collected
from lanner.recorder.store import EventRange, EventStore
from processor.compiler.batch import compile_rules
from processor.detection.repeats import RepeatedAlerts
from processor.indicators.lists import Contents, IndicatorList
from processor.indicators.tables import Table
from processor.pushdown.derive import derive
from processor.rule import Rule
from schemas.alert import Alert

MAX_ALERTS = 1_000
"""The most alerts of a search."""
_REST = 9
"""The rest after a batch, in times that it took."""
_RECENT_MS = 60_000
"""How long before a change alerts are looked up: batches are evaluated soon after they were made."""


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
