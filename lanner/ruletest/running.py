"""Runs cases: events to batches, batches to alerts, and compares alerts with the expected ones."""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from foundation.quantities import duration_text, iso8601_zulu
from foundation.text import count_of, did_you_mean, printable
from foundation.yaml.nodes import SourceLocation
from lanner.recorder.json_file import JsonFile, is_json_file
from lanner.ruleset.explanation import as_text_tree, shown_value
from lanner.ruletest.model import HOSTNAME, Case, Expected, Suite
from lanner.ruletest.windows import WindowLog
from lanner.ruletest.world import START, make_items
from lanner.sources.installed import built_in_source
from processor.compiler.operands import names_by_address
from processor.detection.explain import MappingEvaluator, explain, explain_batch
from processor.detection.stage import compile_ruleset
from processor.evaluator import Evaluator
from processor.fields.json.documents import Document, JsonSource
from processor.loading import LoadedMacro, Problem, ProblemCode, Rule
from processor.rule import Enrichment, RuleMatching, RulesetOptions, correlations_of
from processor.sessions.sessions import Sessions
from schemas.alert import Alert
from schemas.batch import EventBatch
from schemas.catalog.fields import K8S_AUDIT, SYSCALL

_MOST_TREES = 3
_MISSING = "<NA>"
_MILLISECOND = 1_000_000
_Alerts = list[tuple[Alert, Callable[[], str]]]
"""Each alert with a function that explains it."""
_Trees = Callable[[Rule], tuple[str, ...]]
"""Explains why a rule raised no alert."""

_Item = EventBatch | Document
"""A batch of system calls, or one JSON event."""
Recordings = Callable[[str], Iterable[EventBatch]]
"""Returns the batches of a recording by its path; raises OSError or BadBatch."""


@dataclass(frozen=True, slots=True)
class RuleSet:
    """The rules of a test file, ready to evaluate."""

    rules: tuple[Rule, ...]
    macros: Mapping[str, LoadedMacro] = field(default_factory=dict)
    enrichments: tuple[Enrichment, ...] = ()


@dataclass(frozen=True, slots=True)
class Failure:
    """One difference between expected and actual alerts."""

    message: str
    location: SourceLocation
    trees: tuple[str, ...] = ()
    """Explanations of the cause."""


@dataclass(frozen=True, slots=True)
class CaseResult:
    """The result of a case."""

    case: Case
    failures: tuple[Failure, ...]
    seconds: float

    @property
    def passed(self) -> bool:
        """True if exactly the expected alerts were raised."""
        return not self.failures


@dataclass(frozen=True, slots=True)
class RuleCoverage:
    """Which rules of the tested files have cases."""

    untested: tuple[str, ...]
    """No case is about them."""
    never_quiet: tuple[str, ...]
    """No case states when they must not match."""
    never_seen: tuple[str, ...]
    """No case expects them, though at least one is about them."""


def unknown_names(suite: Suite, rules: Iterable[Rule]) -> list[Problem]:
    """Return problems for rules that a test file names but no file defines."""
    known = [rule.name for rule in rules]
    named = [(each.rule, each.location, case.name) for case in suite.cases for each in case.expected]
    named += [(name, case.location, case.name) for case in suite.cases for name in case.about]
    return [
        Problem(
            ProblemCode.LOAD_ERR_VALIDATE, f"unknown rule '{name}'", "case", case, location, did_you_mean(name, known)
        )
        for name, location, case in named
        if name not in known
    ]


def rules_to_evaluate(suite: Suite, rules: Iterable[Rule]) -> list[Rule]:
    """Return the enabled rules, and the disabled ones that a case names."""
    named = {name for case in suite.cases for name in (*case.about, *(each.rule for each in case.expected))}
    return [rule for rule in rules if rule.enabled or rule.name in named]


class Runner:
    """Runs the cases of one file against its rules; cases are independent."""

    def __init__(
        self,
        suite: Suite,
        rules: RuleSet,
        matching: RuleMatching,
        recordings: Recordings,
        source_named: Callable[[str], JsonSource] = built_in_source,
    ) -> None:
        """Compile the rules, which are in evaluation order; disabled ones are used if a case names them.

        matching: the default, if the file doesn't state it.
        """
        evaluated = rules_to_evaluate(suite, rules.rules)
        self._rules = {rule.name: rule for rule in evaluated}
        self._matching: RuleMatching = matching
        if suite.matching is not None:
            self._matching = "all" if suite.matching == "all" else "first"
        self._recordings = recordings
        self._source_named = source_named
        self._stateful = frozenset(correlations_of(rules.macros))
        options = RulesetOptions(rule_matching=self._matching, enrichments=rules.enrichments)
        self._ruleset = compile_ruleset(evaluated, rules.macros, options)

    def run(self, case: Case) -> CaseResult:
        """Run one case. Raises OSError or BadBatch if its recording can't be read."""
        began = time.perf_counter()
        failures = tuple(self._run(case))
        return CaseResult(case, failures, time.perf_counter() - began)

    def _run(self, case: Case) -> Iterable[Failure]:
        path = None if case.recording is None else Path(case.recording)
        log = None
        if path is None:
            items: list[_Item] = list(make_items(case.events, self._source_named))
        elif case.source or is_json_file(path):
            log = JsonFile(path, self._source_named(case.source or K8S_AUDIT))
            items = list(log.events())
        else:
            items = list(self._recordings(str(path)))
        faults = self._ruleset.faults()
        evaluator, alerts = Evaluator(self._ruleset, sessions=Sessions()), list[tuple[Alert, Callable[[], str]]]()
        shown_time = iso8601_zulu if case.recording is not None else _offset_text
        windows = WindowLog(evaluator.correlator, self._ruleset.plan, shown_time)
        for item in items:
            if isinstance(item, EventBatch):
                item.names = names_by_address(case.names)
            if isinstance(item, EventBatch) and item.appended:
                raised = evaluator.process(item, item.appended)
            else:
                raised = evaluator.replay(item)
            alerts += [(alert, partial(self._tree, alert, item)) for alert in raised]
        # Summaries of repeats at the end belong to the case, regardless of its duration.
        alerts += [(alert, partial(self._tree, alert, items[-1])) for alert in evaluator.correlator.finish() if items]
        yield from self._compare(case, alerts, partial(self._trees, items, windows))
        for name, number in (self._ruleset.faults() - faults).items():
            yield Failure(
                f"{name}: failed {count_of(number, 'time')}: {self._ruleset.first_errors()[name]}", case.location
            )
        if log is not None and log.unreadable:
            yield Failure(f"{case.recording}: {log.first_unreadable}", case.location)

    def _compare(self, case: Case, alerts: _Alerts, trees_of: _Trees) -> Iterable[Failure]:
        left = list(alerts)
        for expected in case.expected:
            same = [pair for pair in left if pair[0].rule == expected.rule and _repeats(pair[0]) == expected.repeats]
            if not same:
                yield self._missing(expected, [alert.rule for alert, _ in alerts], trees_of)
                continue
            best = min(same, key=lambda pair: len(_differences(expected, pair[0])))
            left.remove(best)
            if differences := _differences(expected, best[0]):
                yield Failure(f"{expected.rule}: {'; '.join(differences)}", expected.location)
        for alert, tree in left:
            trees = () if alert.repeats else (tree(),)
            text = f"{alert.priority} {alert.rule}: {alert.output}"
            if alert.repeats is not None:
                text += f" (add 'repeats: {alert.repeats.count}' to expect it)"
            yield Failure(f"not expected: {text}", case.location, trees)

    def _tree(self, alert: Alert, item: _Item) -> str:
        if isinstance(item, Document):
            return self._json_tree(self._rules[alert.rule], item)
        batch = item
        number = alert.event.get("evt.num")
        index = number - batch.first_number if isinstance(number, int) else -1
        if not 0 <= index < batch.count:
            return "its event isn't in this batch\n"
        return self._batch_tree(self._rules[alert.rule], batch, index)

    def _missing(self, expected: Expected, came: list[str], trees_of: _Trees) -> Failure:
        message = f"expected, but not raised: {expected.rule}"
        if came and self._matching == "first":
            message += f" (raised: {', '.join(came)}; with rule_matching 'first' only an event's first match counts)"
        rule = self._rules[expected.rule]
        trees = trees_of(rule)
        if not trees:
            types = ", ".join(sorted(rule.event_types)[:10])
            message += f"; none of the events has a type that it selects ({types})"
        return Failure(message, expected.location, trees)

    def _json_tree(self, rule: Rule, event: Document) -> str:
        return as_text_tree(explain(rule, MappingEvaluator(event, is_computed=True)), stateful=self._stateful)

    def _batch_tree(self, rule: Rule, batch: EventBatch, index: int) -> str:
        return as_text_tree(explain_batch(rule, batch, index), stateful=self._stateful)

    def _trees(self, items: Sequence[_Item], windows: WindowLog, rule: Rule) -> tuple[str, ...]:
        trees: list[str] = []
        for item in items:
            if isinstance(item, Document):
                if rule.source == item.source.name and len(trees) < _MOST_TREES:
                    trees.append(f"event {item.number}:\n{self._json_tree(rule, item)}")
                continue
            on_host = "" if item.hostname == HOSTNAME else f" on {printable(item.hostname)}"
            for index, type_index in enumerate(item.columns["type"]):
                event_type = item.strings[type_index]
                if event_type in rule.event_types and rule.source == SYSCALL and len(trees) < _MOST_TREES:
                    number = item.first_number + index
                    trees.append(f"event {number}{on_host}, {event_type}:\n{self._batch_tree(rule, item, index)}")
        progress = "".join(f"{line}\n" for line in windows.lines(rule.name)) if trees else ""
        return (progress, *trees) if progress else tuple(trees)


def _offset_text(time: int) -> str:
    """Return a time since the start of the case, as `at` states it."""
    offset = (time - START) // _MILLISECOND * _MILLISECOND
    return f"{'-' if offset < 0 else ''}{duration_text(abs(offset))}" if offset else "0s"


def _repeats(alert: Alert) -> int | None:
    return None if alert.repeats is None else alert.repeats.count


def _differences(expected: Expected, alert: Alert) -> list[str]:
    found = []
    if expected.priority is not None and expected.priority != alert.priority:
        found.append(f"priority is {alert.priority}, not {expected.priority}")
    for name, value_expected in expected.output_fields.items():
        if name not in alert.output_fields and name not in alert.event:
            if value_expected != _MISSING:
                found.append(f"{name} is missing from output and event, not {value_expected}")
            continue
        value = shown_value(alert.output_fields.get(name, alert.event.get(name)))
        if value != value_expected:
            found.append(f"{name} is {value}, not {value_expected}")
    return found


def coverage(suites: Iterable[Suite], rules: Mapping[str, Sequence[Rule]]) -> RuleCoverage:
    """Return which rules have cases. rules: those that each tested rule file defines."""
    seen: set[str] = set()
    quiet: set[str] = set()
    for suite in suites:
        for case in suite.cases:
            expected = {each.rule for each in case.expected}
            seen |= expected
            quiet |= set(case.about) - expected
    names = list(dict.fromkeys(rule.name for each in rules.values() for rule in each))
    return RuleCoverage(
        tuple(name for name in names if name not in seen | quiet),
        tuple(name for name in names if name in seen - quiet),
        tuple(name for name in names if name in quiet - seen),
    )
