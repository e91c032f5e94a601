"""Searches portions of retained events, newest first, within limits."""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import InitVar, dataclass, field
from typing import Any, Literal

from foundation.errors import LannerError
from lanner.recorder.event_rows import row_maker
from lanner.recorder.store import EventPortion, EventRange, EventStore, Reading
from processor.compiler.batch import Conditions, compile_rules
from processor.compiler.operands import names_to_resolve
from processor.detection.budget import Budget, BudgetLimits, OverBudget
from processor.detection.view import BatchView
from processor.language.ast import Node
from processor.loading import LoadResult, Problem, Rule, RuleFile, load_rules
from processor.output.redaction import Redaction
from processor.rule import correlations_of
from processor.splitting import stateful_names
from schemas.batch import EventBatch

MAX_CONDITION = 4000
"""Characters."""
_NAME = "(search)"
"""Name of the rule that a search is compiled as, and of its file."""
_HEAD = f"- rule: {_NAME}\n  desc: search\n  output: search\n  priority: debug\n  condition: |2-\n"
_INDENT = "    "
_LINES_BEFORE = _HEAD.count("\n")
_ABOUT_RULES = ("LOAD_NO_EVTTYPE",)
"""Warnings that matter to rules, which are evaluated on every event for years, but not to a search."""


@dataclass(frozen=True, slots=True)
class SearchProblem:
    """A fault of a condition."""

    message: str
    hint: str = ""
    line: int = 0
    """Line of the condition, from 1; 0 for the whole condition."""
    column: int = 0
    width: int = 0
    """The number of characters that it is about."""


class BadCondition(LannerError):
    """The text is not a condition that can be searched for."""

    def __init__(self, *problems: SearchProblem) -> None:
        self.problems = problems
        super().__init__("; ".join(each.message for each in problems))


@dataclass(frozen=True, slots=True)
class SearchCondition:
    """A compiled condition."""

    compiled: Conditions
    node: Node
    """The condition itself, with macros resolved."""
    warnings: tuple[SearchProblem, ...] = ()


def compile_search(text: str, files: Sequence[RuleFile]) -> SearchCondition:
    """Compile a condition, which may use macros and lists of rule files. Raises BadCondition."""
    text = text.replace("\r\n", "\n").strip()
    if not text:
        raise BadCondition(SearchProblem("write a condition", "such as proc.name = curl"))
    if len(text) > MAX_CONDITION:
        raise BadCondition(SearchProblem(f"the condition has more than {MAX_CONDITION:,} characters"))
    if not text.replace("\n", "").replace("\t", "").isprintable():
        raise BadCondition(SearchProblem("the condition has control characters", "remove them"))
    result = _load(text, files)
    warnings: tuple[SearchProblem, ...] = ()
    if any(each.file != _NAME for each in result.errors):
        result = _load(text, ())
        warnings = (SearchProblem("the rule files have errors, so their macros and lists are unknown"),)
    if result.errors:
        raise BadCondition(*(_problem(each) for each in result.errors))
    rule: Rule = next(each for each in result.rules if each.file == _NAME)
    if names := stateful_names(rule.condition, correlations_of(result.macros)):
        raise BadCondition(
            SearchProblem(f"'{names[0]}' counts events over time", "search for the condition that it counts")
        )
    if names_to_resolve((rule.condition,)):
        raise BadCondition(SearchProblem("host names are not resolved in a search", "compare with an address"))
    compiled = compile_rules([rule.condition])
    if not compiled.matchers:
        raise BadCondition(SearchProblem("no event can match this condition"))
    warnings += tuple(
        _problem(each) for each in result.warnings if each.file == _NAME and each.code.name not in _ABOUT_RULES
    )
    return SearchCondition(compiled, rule.condition, warnings)


def _load(text: str, files: Sequence[RuleFile]) -> LoadResult:
    # A literal block: lines and columns stay what they are, apart from what stands before them.
    lines = "".join(f"{_INDENT}{line}\n" for line in text.split("\n"))
    return load_rules((*files, RuleFile(_NAME, f"{_HEAD}{lines}")))


def _problem(found: Problem) -> SearchProblem:
    line = max(found.line - _LINES_BEFORE, 0)
    column = max(found.column - len(_INDENT), 1) if line else 0
    return SearchProblem(found.message, found.hint, line, column, found.location.width if line else 0)


def split_fields(*texts: str) -> tuple[str, ...]:
    """Split lists of fields at commas, each once; a comma in an argument's brackets doesn't end a field."""
    found: list[str] = []
    for text in texts:
        for part in text.split(","):
            if found and found[-1].count("[") > found[-1].count("]"):
                found[-1] += f",{part}"
            else:
                found.append(part.strip())
    return tuple(dict.fromkeys(filter(None, found)))


SearchEnd = Literal["complete", "results", "bytes", "time", "stopped"]
"""Why a search ended: everything was searched, a limit was reached, or it was stopped."""
_REPORT_SECONDS = 0.25
_OF_A_BATCH = BudgetLimits(seconds=5.0)


@dataclass(frozen=True, slots=True)
class SearchLimits:
    """The most that a search may take."""

    results: int = 500
    bytes: int = 4 << 30
    seconds: float = 120.0


@dataclass(frozen=True, slots=True)
class FoundEvent:
    """An event that matches."""

    time: int
    """Event time, ns since the epoch."""
    fields: dict[str, Any]
    """By name, as of `lanner events tail --format json`; redacted."""


@dataclass(slots=True)
class EventSearch:
    """One search. Its attributes may be read while it runs."""

    condition: SearchCondition
    store: InitVar[EventStore]
    times: InitVar[EventRange]
    """With an end."""
    stop: Callable[[], bool]
    limits: SearchLimits = field(default_factory=SearchLimits)
    redaction: Redaction = field(default_factory=Redaction)
    clock: Callable[[], float] = time.monotonic
    count: int = 0
    """Events looked at."""
    found: int = 0
    searched_to: int = 0
    """How far back it has searched completely, ms since the epoch; 0 before the first portion is done."""
    end: SearchEnd | None = None
    """Why it ended; None if it runs."""
    faults: int = 0
    """Events that could not be evaluated, and batches that took too long."""
    events: Reading[EventPortion] = field(init=False)
    _until: float = 0.0

    def __post_init__(self, store: EventStore, times: EventRange) -> None:
        self.events = store.portions(times, self._is_over)

    def run(self) -> Iterator[Sequence[FoundEvent]]:
        """Yield what each portion has, newest first, and nothing now and then in between, to show progress.

        Raises BadInput if a recording can't be read, and BusUnavailable if the broker is away.
        """
        self._until = self.clock() + self.limits.seconds
        for portion in self.events:
            left = self.limits.results - self.found
            newest: list[FoundEvent] = []
            report_at = self.clock() + _REPORT_SECONDS
            for stored in portion.batches:
                newest += self._search(stored.batch)
                if len(newest) > 2 * left + _OF_A_BATCH.results:
                    newest = _newest(newest, left + 1)
                if self._is_over():
                    break
                if self.clock() >= report_at:
                    report_at = self.clock() + _REPORT_SECONDS
                    yield ()
            if self.end is None:
                if len(newest) >= left:
                    self.end = "results"
                if len(newest) <= left:
                    self.searched_to = portion.since
            shown = _newest(newest, left)
            self.found += len(shown)
            yield shown
            if self.end is not None:
                return
        self.end = self.end or "complete"

    def _is_over(self) -> bool:
        if self.end is None:
            if self.stop():
                self.end = "stopped"
            elif self.clock() >= self._until:
                self.end = "time"
            elif self.events.bytes >= self.limits.bytes:
                self.end = "bytes"
        return self.end is not None

    def _search(self, batch: EventBatch) -> Iterator[FoundEvent]:
        self.count += batch.count
        make: Callable[[int], dict[str, Any]] | None = None
        try:
            for index, _ in BatchView(batch).hits(self.condition.compiled, self._fault, Budget(_OF_A_BATCH)):
                if make is None:
                    make = row_maker(batch, self.redaction)
                yield FoundEvent(batch.columns["time"][index], make(index))
        except OverBudget:
            self.faults += 1

    def _fault(self, _: int, __: BaseException) -> None:
        self.faults += 1


def _newest(events: list[FoundEvent], count: int) -> list[FoundEvent]:
    return sorted(events, key=lambda each: each.time, reverse=True)[:count]
