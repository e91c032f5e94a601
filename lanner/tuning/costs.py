"""Compares what two versions of the rules cost, by evaluating both on the same stored events.

Pure, apart from the clock of the processor time that it is passed.
"""

import time
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass

from foundation.quantities import duration_text
from foundation.text import count_of
from lanner.recorder.coverage import RecordingCoverage, not_collected
from lanner.recorder.store import Reading, StoredBatch
from lanner.ruleset.compile import CompiledDetection
from lanner.tuning.backtest import Backtest, RuleAlerts
from processor.correlation.state import seen_records
from processor.detection.stage import CompiledRuleset
from processor.evaluator import Evaluator
from processor.pushdown.cost import RecordedEvents
from processor.splitting import Plan
from schemas.batch import EventBatch
from schemas.encoding.batch import encode_batch
from schemas.filter import Clause, PushdownFilter, always

DAY_MS = 86_400_000
_SHORT_MS = 3_600_000
_SAMPLED = 16
"""One batch of so many is encoded, to measure its bytes."""


@dataclass(frozen=True, slots=True)
class VersionCost:
    """The cost of one version of the rules over all evaluated events."""

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
        """True if so little time was evaluated that figures for a day may be far off."""
        return self.milliseconds < _SHORT_MS

    def a_day(self, count: float) -> float:
        """Return what a count over all events is for one day."""
        return count * DAY_MS / self.milliseconds


@dataclass(frozen=True, slots=True)
class ComparedRules:
    """One of the two versions of the rules."""

    rules: CompiledRuleset
    sends: PushdownFilter
    """What collectors send for it."""


class RuleCosts:
    """Evaluates the active version and a draft, batch by batch. clock: returns processor time, ns."""

    def __init__(self, before: ComparedRules, draft: ComparedRules, clock: Callable[[], int]) -> None:
        self.events = 0
        self._versions = _Version(before, clock), _Version(draft, clock)
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
        """Evaluate the events that windows still have, and return the costs."""
        before, draft = (version.finish() for version in self._versions)
        return CostComparison(
            before,
            draft,
            tuple(_rules(*(version.alerts.rules for version in self._versions))),
            self.events,
            len(self._hosts),
            self._encoded_bytes / max(self._encoded_events, 1),
            self._first,
            self._last,
        )


class _Version:
    """One version of the rules while it is evaluated."""

    def __init__(self, version: ComparedRules, clock: Callable[[], int]) -> None:
        self.alerts = Backtest()
        self._evaluator = Evaluator(version.rules)
        self._clauses: dict[str, list[Clause]] = defaultdict(list)
        for clause in version.sends.clauses:
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


def _rules(before: Mapping[str, RuleAlerts], draft: Mapping[str, RuleAlerts]) -> list[RuleCost]:
    rules = []
    for name in before.keys() | draft.keys():
        then, now = before.get(name), draft.get(name)
        hosts = Counter[str]() if now is None else now.hosts
        counts = [0 if each is None else each.count for each in (then, now)]
        rules.append(RuleCost(name, counts[0], counts[1], len(hosts), *(hosts.most_common(1) or [("", 0)])[0]))
    return sorted(rules, key=lambda each: (-each.draft, -each.before, each.rule))


@dataclass(frozen=True, slots=True)
class MeasuredCosts:
    """The costs, and what limits their meaning."""

    costs: CostComparison
    remarks: tuple[str, ...]
    """Sentences about events that were not collected, so that their cost is unknown."""
    is_complete: bool
    """True if all stored events were evaluated."""


def measured_costs(
    before: CompiledDetection,
    draft: CompiledDetection,
    always_sent: Collection[str],
    batches: Reading[StoredBatch],
    since: int,
    *,
    show: Callable[[str], None],
    stop: Callable[[], bool],
) -> MeasuredCosts:
    """Evaluate both versions on stored events, maybe none.

    always_sent: types of the events that both send, as collectors do. since: only events that arrived later, ms since
    the epoch. show: receives the progress. stop: called after each batch; True ends it early, with what was read until
    then.
    """
    versions = [ComparedRules(each.ruleset, always(each.pushdown_filter, always_sent)) for each in (before, draft)]
    costs = RuleCosts(versions[0], versions[1], time.thread_time_ns)
    coverage = RecordingCoverage()
    for stored in batches:
        if stored.appended >= since:
            coverage.see(stored)
            costs.take(stored)
            show(f"{count_of(costs.events, 'event')}, {count_of(costs.alerts, 'alert')} of the draft")
        if stop():
            batches.remarks.append("stopped early")
            break
    missing = not_collected(draft.event_types, draft.pushdown_filter, coverage.hosts)
    found = costs.finish()
    learning = _still_learning(draft.ruleset.plan, found) if found.events else ()
    return MeasuredCosts(found, (*batches.remarks, *missing, *learning), not stop())


def _still_learning(plan: Plan, costs: CostComparison) -> Iterator[str]:
    """Yield the macros whose groups only learned, since the evaluated time is shorter than their learning period."""
    for macro in plan.macros:
        learning = macro.correlation.learning
        if macro.correlation.kind.remembers_values and learning >= costs.milliseconds * 1_000_000:
            yield f"alerts of {macro.name}, which learns for the first {duration_text(learning)}"


def over_budget(costs: CostComparison, limits: Mapping[str, int], hours: int) -> list[str]:
    """Return a sentence for each limit that the draft exceeds; one that nothing is known if there were no events.

    costs: over the evaluated events of so many hours; extrapolated to a day. limits: by name, as in
    published_rules.budget; 0 is none.
    """
    if not costs.events:
        return [f"no events of the last {hours} hours are stored, so the budget can't be checked."]
    draft = costs.draft
    measured = (
        ("alerts_per_day", costs.a_day(draft.alerts), "alerts a day"),
        (
            "events_per_host_per_day",
            costs.a_day(sum(draft.sent.values())) / max(costs.hosts, 1),
            "events a day from each host, on average",
        ),
        ("nanoseconds_per_event", draft.nanoseconds / max(costs.events, 1), "ns of processor time for an event"),
        ("state_groups", draft.groups, "windows, repeats and known values at a time"),
    )
    return [
        f"{value:,.0f} {what}; published_rules.budget.{name} is {limits[name]:,}."
        for name, value, what in measured
        if limits[name] and value > limits[name]
    ]
