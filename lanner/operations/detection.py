"""Metrics of detection that a processor and `lanner run` have in common; it imports no client of a broker."""

from collections import Counter
from collections.abc import Mapping

from lanner.operations.catalogue import Value
from processor.correlation.windows import UpdateOutcome
from processor.detection.rule_timing import RuleTiming
from processor.detection.stage import CompiledRuleset
from processor.loading.rules import LoadedIndicators
from processor.sessions.sessions import EVICTABLE, Sessions
from schemas.catalog.fields import SYSCALL

PASSED_OVER = (
    *(each.value for each in UpdateOutcome if each is not UpdateOutcome.TAKEN),
    "duplicate",
    "unknown_term",
    "without_content",
)


def rule_readings(
    ruleset: CompiledRuleset, timing: RuleTiming, *sources: str
) -> dict[str, dict[tuple[str, ...], Value]]:
    """Return the metrics of the active rules; every rule is present, with 0 if nothing happened.

    sources: the sources whose events are evaluated; none for all.
    """
    names = ruleset.names_of(*sources)
    errors: dict[tuple[str, ...], Value] = {(name,): 0 for name in names}
    errors |= {(name,): number for name, number in ruleset.faults().items()}
    seconds: dict[tuple[str, ...], Value] = {(name,): 0.0 for name in ruleset.detector.rule_names}
    seconds |= {(name,): number for name, number in list(timing.seconds.items())}
    python = () if ruleset.python is None else ruleset.python.processes
    return {
        "lanner_python_process_failures_total": {(each.file,): each.failures for each in python},
        "lanner_python_process_seconds_total": {(each.file,): each.seconds for each in python},
        "lanner_rules": {(): len(names)},
        "lanner_rule_errors_total": errors,
        "lanner_rule_seconds_total": seconds,
        "lanner_missing_group_fields_total": {(): ruleset.pre_matcher.counts.total()},
    }


def indicator_readings(lists: Mapping[str, LoadedIndicators], now: float) -> dict[str, dict[tuple[str, ...], Value]]:
    """Return the metrics of lists of indicators. now: s since the epoch."""
    contents = {(name,): each.indicators.contents for name, each in lists.items()}
    return {
        "lanner_indicators": {name: len(each.table) for name, each in contents.items()},
        "lanner_indicators_rejected": {name: each.rejected_count for name, each in contents.items()},
        "lanner_indicators_age_seconds": {name: max(0.0, now - each.dated) for name, each in contents.items()},
    }


def repeated(
    ruleset: CompiledRuleset, counted: Mapping[str, int], suppressed: Mapping[str, int]
) -> dict[tuple[str, ...], Value]:
    """Return the repeats by rule: of rules that one event decides, of stateful rules, and of those with `suppress`.

    Every rule is present, with 0 if nothing happened.
    """
    # A new version of a rule may have become stateful, so that both stages have counted its repeats.
    numbers = Counter(dict.fromkeys(ruleset.names_of(SYSCALL), 0))
    numbers.update(dict(counted))
    numbers.update(dict(suppressed))
    return {(name,): number for name, number in numbers.items()}


def session_readings(sessions: Sessions) -> dict[str, dict[tuple[str, ...], Value]]:
    """Return the metrics of people's sessions."""
    evicted = sessions.evicted
    return {
        "lanner_sessions": {(): len(sessions)},
        "lanner_sessions_evicted_total": {(kind,): evicted[kind] for kind in EVICTABLE},
    }
