"""Proves what an exception would hide: the rule tests that expect its rule, and the recorded actions of the demo."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from lanner.ruleset.tuning.conditions import CLAIMED, PARENT, USER, FieldCondition, is_narrow
from lanner.ruleset.tuning.patch import TakenNames, cases_text, patch_text
from lanner.ruleset.tuning.proposals import Proposal
from lanner.ruletest.files import find_tests
from lanner.ruletest.model import Case, Suite
from lanner.ruletest.reading import read_suite
from lanner.ruletest.running import RuleSet, Runner
from processor.evaluator import Evaluator, compile_ruleset
from processor.loading import LoadResult, RuleFile, load_rules
from schemas.batch import EventBatch
from schemas.encoding.recording import read_recording

_ACTIONS = "acts.avro"
"""Recording beside the built-in rules of one harmless action for each of them."""


@dataclass(frozen=True, slots=True)
class Harm:
    """What an exception would hide."""

    tests: tuple[str, ...]
    """Names of test cases."""
    actions: int
    """Alerts of the rule on the recorded actions."""
    tested: int
    """Test cases and recorded alerts that it was tried on; 0 proves nothing."""


class HarmTrial:
    """Tries exceptions on the tests beside rule files and on the recorded actions.

    Args:
        files: the rule files in load order.
    """

    def __init__(self, files: Sequence[RuleFile]) -> None:
        """Find the tests. Raises BadInput."""
        self._files = tuple(files)
        self._loaded = load_rules(self._files)
        exceptions = (each.name for rule in self._loaded.rules for each in rule.exceptions)
        self.taken = TakenNames(frozenset(self._loaded.lists), frozenset(exceptions))
        paths = [file.name for file in files if Path(file.name).is_file()]
        names = tuple(file.name for file in files)
        self._suites = [tested.suite for tested in find_tests(paths, names).tested]
        folders = dict.fromkeys(Path(path).parent for path in paths)
        self._actions = [each for folder in folders if (each := folder / _ACTIONS).is_file()]

    def of(self, proposal: Proposal) -> Harm:
        """Return what an exception would hide, also from an attacker who chooses names and command lines to fit it.

        Raises:
            OSError: A recording can't be read.
            BadBatch: A recording is broken.
        """
        before, after = self._versions(replace(proposal, conditions=_proved(proposal.conditions), exception=""))
        cases = list(self._cases(proposal.rule))
        raised = [case for suite, case in cases if _raises(before, suite, case)]
        hidden = tuple(case.name for suite, case in cases if case in raised and not _raises(after, suite, case))
        batches = [batch for path in self._actions for batch in read_recording(path)]
        shown = _alerts(before, batches)
        return Harm(hidden, shown - _alerts(after, batches), len(raised) + shown)

    def is_proof(self, proposal: Proposal, case: str) -> bool:
        """Return whether a case, as text, passes with the exception and fails without it."""
        suite, problems = read_suite("tuned_test.yaml", cases_text([case]))
        if problems:
            return False
        passed = [_runner(suite, rules).run(suite.cases[0]).passed for rules in self._versions(proposal)]
        return passed == [False, True]

    def _versions(self, proposal: Proposal) -> tuple[RuleSet, RuleSet]:
        """Return the rule without and with an exception."""
        patch = RuleFile("tuned.yaml", patch_text([proposal], self.taken))
        patched = load_rules((*self._files, patch))
        return _only(proposal.rule, self._loaded), _only(proposal.rule, patched)

    def _cases(self, rule: str) -> Iterator[tuple[Suite, Case]]:
        for suite in self._suites:
            for case in suite.cases:
                own = tuple(each for each in case.expected if each.rule == rule)
                if own:
                    yield suite, replace(case, expected=own, about=())


def _proved(conditions: tuple[FieldCondition, ...]) -> tuple[FieldCondition, ...]:
    """Return the conditions that an attacker can't choose.

    That is neither names and command lines, nor the user and the parent of a program, unless nothing else restricts it.
    """
    found = [each for each in conditions if each.field not in CLAIMED]
    others = [each for each in conditions if each.field not in (USER, PARENT)]
    if is_narrow([each.field for each in others]):
        found = [each for each in found if each in others]
    return tuple(found) or conditions


def _only(name: str, loaded: LoadResult) -> RuleSet:
    # An exception with which the rules don't load hides everything.
    rules = tuple(rule for rule in loaded.rules if rule.name == name and not loaded.errors)
    return RuleSet(rules, loaded.correlations, loaded.suppressed)


def _raises(rules: RuleSet, suite: Suite, case: Case) -> bool:
    return bool(rules.rules) and _runner(replace(suite, cases=(case,)), rules).run(case).passed


def _runner(suite: Suite, rules: RuleSet) -> Runner:
    return Runner(suite, rules, "all", lambda path: read_recording(Path(path)))


def _alerts(rules: RuleSet, batches: Iterable[EventBatch]) -> int:
    evaluator = Evaluator(compile_ruleset(rules.rules, rules.correlations, rules.suppressed))
    return sum(len(evaluator.replay(batch)) for batch in batches) + len(evaluator.correlator.finish())
