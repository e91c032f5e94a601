"""Compares what two versions of the rules cost, by evaluating both on the same stored events.

Pure, apart from the clock of the processor time that it is passed.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from lanner.recorder.batches import StoredBatch
from lanner.recorder.evaluation.backtest import Backtest, BacktestRow
from processor.correlation.state.encoded import seen_records
from processor.evaluator import CompiledRuleset, Evaluator
from processor.pushdown.recorded import RecordedEvents
from schemas.batch import EventBatch
from schemas.codec import encode_batch
from schemas.filter import Clause, PushdownFilter

DAY_MS = 86_400_000
_SHORT_MS = 3_600_000
_SAMPLED = 16
"""One batch of so many is encoded, to measure its bytes."""


@dataclass(frozen=True, slots=True)
class VersionCost:
    """What one version of the rules cost over all evaluated events."""

    alerts: int
    sent: Mapping[str, int]
    """Events that its filter lets through, by event type."""
    nanoseconds: int
    """Processor time of both stages."""
    groups: int
    """Maximum number of windows, counts of repeats and values that first_seen knows, at a time."""
    state_bytes: int
    """Encoded state at the end."""


@dataclass(frozen=True, slots=True)
class RuleCost:
    """The alerts of one rule."""

    rule: str
    before: int
    """In the active version."""
    draft: int
    hosts: int
    """Hosts with alerts in the draft."""
    busiest: str
    """The host with most of them; empty if there are none."""
    of_busiest: int


@dataclass(frozen=True, slots=True)
class CostComparison:
    """The costs of two versions of the rules."""

    before: VersionCost
    draft: VersionCost
    rules: tuple[RuleCost, ...]
    """By descending number of alerts in the draft; rules without alerts in either version are left out."""
    events: int
    hosts: int
    bytes_per_event: float
    """Mean size in the stored batches, before compression."""
    first: int
    """Append time of the first batch, ms."""
    last: int

    @property
    def milliseconds(self) -> int:
        """The time from the first to the last batch."""
        return max(self.last - self.first, 1)

    @property
    def is_short(self) -> bool:
        """Whether so little time was evaluated that figures for a day may be far off."""
        return self.milliseconds < _SHORT_MS

    def a_day(self, count: float) -> float:
        """Return what a count over all events is for one day."""
        return count * DAY_MS / self.milliseconds


class RuleCosts:
    """Evaluates both versions, batch by batch.

    Args:
        before: the active version, and its pushdown filter.
        draft: the other version, and its pushdown filter.
        clock: returns processor time, ns.
    """

    def __init__(
        self,
        before: tuple[CompiledRuleset, PushdownFilter],
        draft: tuple[CompiledRuleset, PushdownFilter],
        clock: Callable[[], int],
    ) -> None:
        self.events = 0
        self._versions = _Version(*before, clock), _Version(*draft, clock)
        self._hosts: set[str] = set()
        self._batches = 0
        self._encoded_bytes = 0
        self._encoded_events = 0
        self._first = 0
        self._last = 0

    @property
    def alerts(self) -> int:
        """The alerts of the draft so far."""
        return self._versions[1].alerts.alerts

    def take(self, stored: StoredBatch) -> None:
        """Evaluate a batch."""
        batch = stored.batch
        self._hosts.add(batch.host_id)
        self._first = self._first or stored.appended
        self._last = max(self._last, stored.appended)
        self.events += batch.total
        if batch.count and self._batches % _SAMPLED == 0:
            self._encoded_bytes += len(encode_batch(batch))
            self._encoded_events += batch.count
        self._batches += 1
        # In turns, so that caches favor neither.
        for version in self._versions if self._batches % 2 else reversed(self._versions):
            version.take(batch)

    def finish(self) -> CostComparison:
        """Evaluate what windows still hold, and return the costs."""
        before, draft = (version.finish() for version in self._versions)
        return CostComparison(
            before,
            draft,
            tuple(_rules(*(version.alerts.rows() for version in self._versions))),
            self.events,
            len(self._hosts),
            self._encoded_bytes / max(self._encoded_events, 1),
            self._first,
            self._last,
        )


class _Version:
    """One version of the rules while it is evaluated."""

    def __init__(self, rules: CompiledRuleset, sends: PushdownFilter, clock: Callable[[], int]) -> None:
        self.alerts = Backtest()
        self._evaluator = Evaluator(rules)
        self._clauses: dict[str, list[Clause]] = defaultdict(list)
        for clause in sends.clauses:
            self._clauses[clause.event].append(clause)
        self._clock = clock
        self._sent = Counter[str]()
        self._nanoseconds = 0
        self._groups = 0

    def take(self, batch: EventBatch) -> None:
        begin = self._clock()
        found = self._evaluator.replay(batch)
        self._nanoseconds += self._clock() - begin
        for alert in found:
            self.alerts.count(alert)
        correlator = self._evaluator.correlator
        self._groups = max(self._groups, len(correlator.store) + len(correlator.sightings))
        self._sent.update(_let_through(batch, self._clauses))

    def finish(self) -> VersionCost:
        correlator = self._evaluator.correlator
        state_bytes = len(correlator.snapshot()) + sum(map(len, seen_records(correlator.state, changed=False)))
        for alert in correlator.finish():
            self.alerts.count(alert)
        return VersionCost(self.alerts.alerts, dict(self._sent), self._nanoseconds, self._groups, state_bytes)


def _let_through(batch: EventBatch, clauses: Mapping[str, list[Clause]]) -> Iterable[str]:
    """Yield the type of each event that passes a filter."""
    events = RecordedEvents(batch)
    for index in range(batch.count):
        event = events.event(index)
        if event in clauses and events.passes(index, clauses[event]):
            yield event


def _rules(before: list[BacktestRow], draft: list[BacktestRow]) -> list[RuleCost]:
    then, now = Counter[str](), Counter[str]()
    by_host: dict[str, Counter[str]] = defaultdict(Counter)
    for row in before:
        then[row.rule] += row.count
    for row in draft:
        now[row.rule] += row.count
        by_host[row.rule][row.host] += row.count
    rules = [
        RuleCost(rule, then[rule], now[rule], len(by_host[rule]), *(by_host[rule].most_common(1) or [("", 0)])[0])
        for rule in then.keys() | now.keys()
    ]
    return sorted(rules, key=lambda each: (-each.draft, -each.before, each.rule))
