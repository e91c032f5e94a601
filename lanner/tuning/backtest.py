"""Counts the alerts that rules would have raised on stored events: by rule and day, host and image, with examples.

Pure: takes stored batches, returns counts and sentences.
"""

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

from foundation.caches import BoundedSet
from foundation.quantities import date_and_time_seconds
from foundation.text import count_of
from lanner.recorder.coverage import RecordingCoverage, not_collected
from lanner.recorder.store import Reading, StoredBatch, time_text
from lanner.ruleset.compile import CompiledDetection
from processor.detection.stage import CompiledRuleset
from processor.evaluator import Evaluator
from processor.language.ast import Node
from processor.language.event_types import event_types
from processor.pushdown.derive import derive
from processor.splitting import Plan, StatefulMacro
from schemas.alert import Alert
from schemas.batch import EventBatch
from schemas.catalog.fields import SYSCALL
from schemas.catalog.priorities import SEVERITY, Priority
from schemas.limits import clipped

EXAMPLES = 5
HOST = "host"
"""Stands for the image of processes outside of containers."""
UNKNOWN_IMAGE = "unknown image"
_MAX_COUNTS = 100_000
"""Days, hosts and images of all rules together that are counted."""
_REMEMBERED_IDS = 100_000
_TRIED_KINDS = 200
"""Kinds of alerts of a rule that may become examples."""
_MAX_TEXT_BYTES = 500
_SLACK_MS = 600_000
"""Events that begin so soon after a time count as beginning then: a fleet may be quiet for some minutes."""
_MOSTLY = 0.9
_NS_PER_MS = 1_000_000


@dataclass(frozen=True, slots=True)
class AlertExample:
    """One of the alerts of a rule."""

    time: int
    """Event time, ns since the epoch."""
    host: str
    image: str
    program: str
    process: str
    """What identifies the process on its host; the output, if no event states one."""
    output: str

    @property
    def kind(self) -> tuple[str, str, str, str]:
        """What should differ between examples, most important first."""
        return self.program, self.image, self.host, self.output


@dataclass(slots=True)
class RuleAlerts:
    """The alerts of one rule."""

    rule: str
    priority: str
    first: int
    """Event time, ns since the epoch."""
    last: int
    count: int = 0
    days: Counter[str] = field(default_factory=Counter)
    """By date in UTC."""
    hosts: Counter[str] = field(default_factory=Counter)
    images: Counter[str] = field(default_factory=Counter)
    """By repository and tag; HOST outside of containers."""
    examples: list[AlertExample] = field(default_factory=list)
    """As different as possible, at most EXAMPLES, by time."""
    kinds: BoundedSet[tuple[str, str, str, str]] = field(default_factory=lambda: BoundedSet(_TRIED_KINDS), repr=False)
    """The kinds of alerts that were tried as examples."""


class Backtest:
    """Counts alerts, each id once."""

    def __init__(self) -> None:
        self.alerts = 0
        self.beyond = Counter[str]()
        """Alerts that are in no count of days, hosts or images, because there were too many of them."""
        self.rules: dict[str, RuleAlerts] = {}
        self._counts = 0
        self._counted: BoundedSet[str] = BoundedSet(_REMEMBERED_IDS)

    def count(self, alert: Alert) -> bool:
        """Count an alert; return whether it is new."""
        if not self._counted.add(alert.id):
            return False
        self.alerts += 1
        found = self.rules.get(alert.rule)
        if found is None:
            found = self.rules[alert.rule] = RuleAlerts(alert.rule, alert.priority, alert.time, alert.time)
        found.count += 1
        found.first, found.last = min(found.first, alert.time), max(found.last, alert.time)
        image = image_of(alert)
        self._add(found.days, date_and_time_seconds(alert.time, utc=True)[:10], "days")
        self._add(found.hosts, alert.hostname, "hosts")
        self._add(found.images, image, "images")
        _show(found, alert, image)
        return True

    def _add(self, counts: Counter[str], value: str, what: str) -> None:
        if value not in counts:
            if self._counts == _MAX_COUNTS:
                self.beyond[what] += 1
                return
            self._counts += 1
        counts[value] += 1

    def ordered(self) -> list[RuleAlerts]:
        """Return the rules by descending number of alerts."""
        return sorted(self.rules.values(), key=lambda each: (-each.count, each.rule))

    def busiest_day(self, lowest: Priority = Priority.DEBUG) -> tuple[int, str]:
        """Return the most alerts of a day, and the day. lowest: only rules of this priority and higher ones count."""
        days = Counter[str]()
        for each in self.rules.values():
            if SEVERITY[each.priority] <= lowest.value:
                days.update(each.days)
        return max(((count, day) for day, count in days.items()), default=(0, ""))

    def sentence(self, days: float) -> str:
        """Return what was found over so many days, as people read it before they publish."""
        hosts = {host for each in self.rules.values() for host in each.hosts}
        where = f" on {count_of(len(hosts), 'host')}" if self.alerts else ""
        return f"{count_of(self.alerts, 'alert')} in {days_text(days)}{where}"


def days_text(days: float) -> str:
    """Return a number of days for people."""
    hours = round(days * 24)
    return count_of(round(days), "day") if days >= 1 else count_of(hours, "hour") if hours else "less than an hour"


def over_limits(counts: Backtest, limits: Iterable[tuple[Priority, int]]) -> list[str]:
    """Return a sentence for each limit that alerts exceed.

    limits: a priority, and the most alerts of rules of this priority and higher ones on one day.
    """
    found = []
    for priority, most in limits:
        number, day = counts.busiest_day(priority)
        if number > most:
            what = f"{count_of(number, 'alert')} of priority {priority} or higher on {day}"
            found.append(f"{what}; the limit in published_rules.backtest.limits is {most:,} a day.")
    return found


def image_of(alert: Alert) -> str:
    """Return the image of an alert's container."""
    facts = alert.stated
    repository, tag = facts.get("container.image.repository"), facts.get("container.image.tag")
    if not repository:
        container = facts.get("container.id")
        return HOST if container in (None, "", HOST) else UNKNOWN_IMAGE
    return f"{repository}:{tag}" if tag else str(repository)


def _show(found: RuleAlerts, alert: Alert, image: str) -> None:
    """Take an alert as an example if it makes them more different."""
    facts = alert.stated
    program = str(facts.get("proc.exepath") or facts.get("proc.name") or "")
    output = clipped(alert.output, _MAX_TEXT_BYTES)
    process = f"{facts['proc.pid']} {facts.get('proc.pid.ts')}" if facts.get("proc.pid") is not None else output
    example = AlertExample(alert.time, alert.hostname, image, program, process, output)
    if not found.kinds.add(example.kind) and len(found.examples) == EXAMPLES:
        return
    shown = found.examples
    if len(shown) < EXAMPLES:
        if all((each.host, each.process) != (example.host, example.process) for each in shown):
            found.examples = sorted([*shown, example], key=lambda each: each.time)
        return
    others = [[*shown[:at], *shown[at + 1 :], example] for at in reversed(range(EXAMPLES))]
    best = max(others, key=_variety)
    if _variety(best) > _variety(shown):
        found.examples = sorted(best, key=lambda each: each.time)


def _variety(examples: Sequence[AlertExample]) -> tuple[int, ...]:
    return tuple(len(set(values)) for values in zip(*(each.kind for each in examples), strict=True))


@dataclass(frozen=True, slots=True)
class BacktestRange:
    """The batches whose alerts are counted, by when they arrived; ms since the epoch."""

    since: int
    until: int

    @property
    def days(self) -> float:
        """Its length."""
        return (self.until - self.since) / 86_400_000


def spans(plan: Plan) -> dict[str, int]:
    """Return by stateful rule how far back the events are that its state depends on, ms."""
    macros = {macro.fingerprint: macro for macro in plan.macros}

    def span(macro: StatefulMacro) -> int:
        return macro.correlation.timespan + max((span(macros[name]) for name in _needed(macro)), default=0)

    return {
        rule.name: (rule.suppress.period + max((span(macros[name]) for name in rule.macros), default=0)) // _NS_PER_MS
        for rule in plan.rules
    }


def _needed(macro: StatefulMacro) -> set[str]:
    """Return the fingerprints of the macros that a macro refers to."""
    return {name for leg in macro.legs for term in leg.terms for name in term.needs | term.forbids}


def _conditions(ruleset: CompiledRuleset, names: Collection[str]) -> Iterator[Node]:
    """Yield the conditions of rules, and of all that their state depends on."""
    detector = ruleset.detector
    yield from (each for name, each in zip(detector.rule_names, detector.conditions, strict=True) if name in names)
    if ruleset.python is not None:
        yield from ruleset.python.conditions
    macros = {macro.fingerprint: macro for macro in ruleset.plan.macros}
    todo = list[str]()
    for rule in ruleset.plan.rules:
        if rule.name in names and rule.source == SYSCALL:
            yield from (term.condition for term in rule.terms)
        todo += rule.macros if rule.name in names else ()
    while todo:
        macro = macros.pop(todo.pop(), None)
        if macro is not None:
            todo += _needed(macro)
            yield from (term.condition for leg in macro.legs if SYSCALL in leg.sources for term in leg.terms)


class BacktestObserver(Protocol):
    """Receives what a backtest counts."""

    def take(self, alert: Alert) -> None:
        """Receive an alert, each once."""

    def see(self, batch: EventBatch) -> None:
        """Receive a batch after its alerts."""


class BacktestVersion:
    """One version of the rules while it is evaluated: its state begins before the alerts that are counted."""

    def __init__(
        self,
        detection: CompiledDetection,
        names: Collection[str] | None = None,
        observer: BacktestObserver | None = None,
    ) -> None:
        """Take compiled rules.

        Args:
            detection: the compiled rules.
            names: the rules whose alerts are counted; None for all.
            observer: receives what is counted; None if nobody does.
        """
        self.detection = detection
        self.counts = Backtest()
        active = detection.ruleset.names_of()
        self.names = tuple(active) if names is None else tuple(name for name in active if name in names)
        self.spans = {name: span for name, span in spans(detection.ruleset.plan).items() if name in self.names}
        self.conditions = tuple(dict.fromkeys(_conditions(detection.ruleset, self.names)))
        """An event for which none is true matters to none of the rules."""
        self._counted = None if names is None else frozenset(names)
        self.observer = observer
        self._evaluator = Evaluator(detection.ruleset)

    def not_collected(self, coverage: RecordingCoverage) -> list[str]:
        """Return sentences on the events that the rules can't have seen."""
        detection = self.detection
        types = frozenset[str]().union(*map(event_types, self.conditions))
        names = detection.has_looked_up_names
        needed = derive(self.conditions, types, variables=detection.variables, names=names)
        return not_collected(types, needed, coverage.hosts)

    @property
    def lead(self) -> int:
        """How long before the counted alerts the evaluation should begin, ms."""
        return max(self.spans.values(), default=0)

    def take(self, stored: StoredBatch, *, is_counted: bool) -> None:
        """Evaluate a batch."""
        found = self._evaluator.replay(stored.batch)
        if is_counted:
            self._count(found)
            if self.observer is not None:
                self.observer.see(stored.batch)

    def finish(self) -> None:
        """Count the alerts of windows that are still open."""
        self._count(self._evaluator.correlator.finish())

    def _count(self, alerts: Sequence[Alert]) -> None:
        for alert in alerts:
            # A summary of repeats is about alerts that were counted.
            is_meant = alert.repeats is None and (self._counted is None or alert.rule in self._counted)
            if is_meant and self.counts.count(alert) and self.observer is not None:
                self.observer.take(alert)


@dataclass(slots=True)
class BacktestRun:
    """Versions of the rules over the same stored events."""

    versions: tuple[BacktestVersion, ...]
    range: BacktestRange
    events: int = 0
    """Evaluated ones within the range, or left out because no rule can match them."""
    hosts: set[str] = field(default_factory=set)
    first: int = 0
    """When the first batch arrived that state depends on, ms since the epoch."""
    begin: int = 0
    """When the first counted one did."""
    end: int = 0
    is_stopped: bool = False
    remarks: list[str] = field(default_factory=list)
    """On what the rules can't have seen; complete at the end."""

    @property
    def read_from(self) -> int:
        """The time from which events are needed, ms since the epoch."""
        return max(self.range.since - max(each.lead for each in self.versions), 0)

    @property
    def needs_all_events(self) -> bool:
        """True if rules compare events with those before them, or if an observer receives all."""
        return any(each.detection.compares_events or each.observer is not None for each in self.versions)

    @property
    def counts(self) -> Backtest:
        """What the last version would have raised."""
        return self.versions[-1].counts

    @property
    def days(self) -> float:
        """The length of the range, in days; from its first to its last event, if that is much less."""
        covered = replace(self.range, since=self.begin, until=max(self.end, self.begin)).days
        return covered if covered < _MOSTLY * self.range.days else self.range.days

    def complete_from(self, rule: str) -> int:
        """Return when the state of a rule is complete, ms since the epoch; the start of the range if it always is."""
        needed = max(each.spans.get(rule, 0) for each in self.versions)
        if self.first <= self.range.since - needed + _SLACK_MS:
            return self.range.since
        return self.first + needed if needed else self.range.since

    def evaluate(
        self,
        batches: Reading[StoredBatch],
        names: Mapping[str, tuple[str, ...]],
        is_selected: Callable[[StoredBatch], bool],
        *,
        stop: Callable[[], bool],
        show: Callable[[str], None],
    ) -> None:
        """Evaluate all batches, in the order in which they arrived.

        Args:
            batches: those from `read_from` on.
            names: the host names of addresses that rules compare.
            is_selected: returns whether a batch is evaluated.
            stop: returns whether to end, with what was counted until then.
            show: receives the progress.
        """
        coverage = RecordingCoverage()
        since, until = self.range.since, self.range.until
        for stored in batches:
            if stop():
                break
            if not self.read_from <= stored.appended < until or not is_selected(stored):
                continue
            coverage.see(stored)
            self.first = min(self.first or stored.appended, stored.appended)
            is_counted = stored.appended >= since
            if is_counted:
                self.events += stored.events
                self.hosts.add(stored.batch.host_id)
                self.begin, self.end = self.begin or stored.appended, max(self.end, stored.appended)
            stored.batch.names = names
            for version in self.versions:
                version.take(stored, is_counted=is_counted)
            what = count_of(self.events, "event") if is_counted else f"{time_text(stored.appended)}, for their state"
            show(f"{batches.share:.0%}: {what}, {count_of(self.counts.alerts, 'alert')}")
        for version in self.versions:
            version.finish()
        self.is_stopped = stop()
        self.remarks += self._remarks(batches, coverage)

    def _remarks(self, batches: Reading[StoredBatch], coverage: RecordingCoverage) -> Iterator[str]:
        if self.is_stopped:
            reached = f", after the events of {time_text(self.end)}" if self.end else ""
            yield f"stopped early{reached}"
        yield from batches.remarks
        if self.begin > self.range.since + _SLACK_MS and not batches.remarks:
            yield f"the events begin at {time_text(self.begin)}"
        yield from self.versions[-1].not_collected(coverage)
        detection = self.versions[-1].detection
        others = Counter(
            source for name, _, source in detection.ruleset.active if name in self.versions[-1].names
            if source != SYSCALL
        )  # fmt: skip
        for source, number in others.items():
            yield f"{count_of(number, 'rule')} of the source {source}, whose events are not among these"
        faults = detection.ruleset.faults()
        for name, fault in detection.ruleset.first_errors().items():
            yield f"rule {name} failed {faults[name]:,} times: {fault}"
        for what, number in self.counts.beyond.items():
            yield f"{count_of(number, 'alert')} in no count of {what}, because there are more than can be counted"
