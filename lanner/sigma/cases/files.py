"""Test files for converted rules: for each rule an event that it matches, and one that it doesn't."""

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import yaml

from lanner.ruletest.model import StatedEvent
from lanner.ruletest.reading import read_suite
from lanner.ruletest.world import make_batch
from lanner.sigma.cases.sequences import Sequence, sequences
from lanner.sigma.cases.witness import neutral
from processor.compiler.host_names import names_by_address
from processor.evaluator import Evaluator, compile_ruleset
from processor.loading import LoadResult, Rule

_HEAD = "rule_matching: all\n\ncases:\n"


@dataclass(frozen=True, slots=True)
class CaseFile:
    """The tests of converted rules."""

    text: str
    unproven: tuple[str, ...]
    """Rules for which no event was found that they match."""


def cases_of(loaded: LoadResult) -> CaseFile:
    """Return the tests of converted rules; each event was evaluated, and matches what its case states.

    Args:
        loaded: the converted rules, without errors.
    """
    tester = _Tester(loaded)
    parts: list[str] = []
    unproven: list[str] = []
    for rule in loaded.rules:
        if (case := tester.positive(rule)) is not None:
            parts.append(case)
        else:
            unproven.append(rule.name)
        if (quiet := tester.negative(rule)) is not None:
            parts.append(quiet)
    return CaseFile(_HEAD + "".join(parts) if parts else "", tuple(unproven))


class _Tester:
    """Evaluates events with all rules."""

    def __init__(self, loaded: LoadResult) -> None:
        self._loaded = loaded
        self._ruleset = compile_ruleset(loaded.rules, loaded.correlations, loaded.suppressed, rule_matching="all")

    def positive(self, rule: Rule) -> str | None:
        for sequence in sequences(rule, self._loaded):
            found = self._found(sequence)
            if rule.name in found:
                return _text(f"an event of: {rule.name}", sequence, {"expect": found if len(found) > 1 else rule.name})
        return None

    def negative(self, rule: Rule) -> str | None:
        made = neutral(rule.condition)
        sequence = Sequence((made.given,), made.names)
        if self._found(sequence):
            return None
        return _text(f"another event than: {rule.name}", sequence, {"expect": "none", "about": rule.name})

    def _found(self, sequence: Sequence) -> list[str]:
        """Return the rules whose alerts the events raise; none if there are summaries, or no kernel has such events."""
        suite, problems = read_suite("case_test.yaml", "cases:\n" + _text("x", sequence, {"expect": "none"}))
        if problems:
            return []
        batch = make_batch([event for event in suite.cases[0].events if isinstance(event, StatedEvent)])
        batch.names = names_by_address(suite.cases[0].names)
        evaluator = Evaluator(self._ruleset)
        alerts = [*evaluator.replay(batch), *evaluator.correlator.finish()]
        return [] if any(alert.repeats for alert in alerts) else [alert.rule for alert in alerts]


def _text(name: str, sequence: Sequence, rest: Mapping[str, Any]) -> str:
    lines = [f"- name: {_flow(name)}"]
    if len(sequence.given) == 1:
        lines.append(f"  given: [{_flow(sequence.given[0])}]")
    else:
        lines += ["  given:", *(f"  - {_flow(event)}" for event in sequence.given)]
    if sequence.names:
        lines.append(f"  names: {_flow(sequence.names)}")
    lines += [f"  {key}: {_flow(value)}" for key, value in rest.items()]
    return "".join(f"  {line}\n" for line in lines)


def _flow(value: Any) -> str:
    """Return a value as YAML on one line."""
    plain = yaml.safe_dump(value, default_flow_style=True, width=sys.maxsize, allow_unicode=True, sort_keys=False)
    return plain.removesuffix("\n").removesuffix("\n...")
