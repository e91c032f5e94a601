"""Test files for converted rules: for each rule an event that it matches, and one that it doesn't."""

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import yaml

from lanner.ruletest.model import Case
from lanner.ruletest.reading import read_suite
from lanner.ruletest.world import make_batch
from lanner.sigma.cases.witness import Witness, neutral, witnesses
from processor.compiler.host_names import names_by_address
from processor.evaluator import Evaluator, compile_ruleset
from processor.language.ast import Macro, walk
from processor.loading import LoadResult, Rule

_HEAD = "rule_matching: all\n\ncases:\n"


@dataclass(frozen=True, slots=True)
class CaseFile:
    """The tests of converted rules."""

    text: str
    unproven: tuple[str, ...]
    """Rules for which no event was found that they match; stateful ones need several."""


def cases_of(loaded: LoadResult) -> CaseFile:
    """Return the tests of converted rules; each event was evaluated, and matches what its case states.

    Args:
        loaded: the converted rules, without errors.
    """
    tester = _Tester(loaded)
    parts: list[str] = []
    unproven: list[str] = []
    for rule in loaded.rules:
        if _is_stateful(rule, loaded):
            unproven.append(rule.name)
            continue
        case = tester.positive(rule)
        if case is None:
            unproven.append(rule.name)
        else:
            parts.append(case)
        if (quiet := tester.negative(rule)) is not None:
            parts.append(quiet)
    return CaseFile(_HEAD + "".join(parts) if parts else "", tuple(unproven))


def _is_stateful(rule: Rule, loaded: LoadResult) -> bool:
    return any(isinstance(node, Macro) and node.name in loaded.correlations for node in walk(rule.condition))


class _Tester:
    """Evaluates events with all rules."""

    def __init__(self, loaded: LoadResult) -> None:
        rules = [rule for rule in loaded.rules if not _is_stateful(rule, loaded)]
        self._evaluator = Evaluator(compile_ruleset(rules, {}, {}, rule_matching="all"))

    def positive(self, rule: Rule) -> str | None:
        for witness in witnesses(rule.condition):
            found = self._found(witness)
            if rule.name in found:
                return _text(f"an event of: {rule.name}", witness, {"expect": found if len(found) > 1 else rule.name})
        return None

    def negative(self, rule: Rule) -> str | None:
        witness = neutral(rule.condition)
        found = self._found(witness)
        if found:
            return None
        return _text(f"another event than: {rule.name}", witness, {"expect": "none", "about": rule.name})

    def _found(self, witness: Witness) -> list[str]:
        suite, problems = read_suite("case_test.yaml", "cases:\n" + _text("x", witness, {"expect": "none"}))
        if problems:
            return []
        return self._evaluated(suite.cases[0])

    def _evaluated(self, case: Case) -> list[str]:
        batch = make_batch(case.events)
        batch.names = names_by_address(case.names)
        return [alert.rule for alert in self._evaluator.replay(batch)]


def _text(name: str, witness: Witness, rest: Mapping[str, Any]) -> str:
    lines = [f"- name: {_flow(name)}", f"  given: [{_flow(witness.given)}]"]
    if witness.names:
        lines.append(f"  names: {_flow(witness.names)}")
    lines += [f"  {key}: {_flow(value)}" for key, value in rest.items()]
    return "".join(f"  {line}\n" for line in lines)


def _flow(value: Any) -> str:
    """Return a value as YAML on one line."""
    plain = yaml.safe_dump(value, default_flow_style=True, width=sys.maxsize, allow_unicode=True, sort_keys=False)
    return plain.removesuffix("\n").removesuffix("\n...")
