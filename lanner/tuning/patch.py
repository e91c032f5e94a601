"""Writes rule files: proposed exceptions and their tests, and a condition of a search as a rule. Pure."""

import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import count
from pathlib import Path

from foundation.files import FileWatch
from foundation.text import count_of, printable
from foundation.yaml.text import yaml_scalar
from lanner.errors import BadInput
from lanner.recorder.search import BadCondition, SearchProblem, compile_search
from lanner.ruletest.events.events import write_event
from lanner.ruletest.generate import flow_text, quiet_case_text
from lanner.ruletest.model import Case, Suite
from lanner.ruletest.reading import find_tests, read_suite, test_file_of
from lanner.ruletest.running import RuleSet, Runner
from lanner.tuning.proposals import CLAIMED, PARENT, USER, FieldCondition, Proposal, is_narrow
from lanner.tuning.rule_exceptions import appended_text, exception_head, values_line
from processor.detection.stage import compile_ruleset
from processor.evaluator import Evaluator
from processor.loading import LoadResult, RuleFile, load_rules
from schemas.batch import EventBatch
from schemas.catalog.fields import resolve_field
from schemas.encoding.batch import BadBatch
from schemas.encoding.recording import read_recording

_HEAD = """\
# Exceptions that `lanner rules tune` proposed from alerts. Read each: whoever causes alerts chooses their values, so an
# exception excuses whatever looks the same.
"""
_ANCESTRY = ("proc.pcmdline", *(f"proc.{name}[" for name in ("aname", "apid", "aexepath", "acodepath", "acmdline")))
MAX_NAME = 100
_FILE = "(draft)"
_OUTPUT = ("evt.hostname", "user.name", "proc.cmdline", "fd.name", "container.name")
"""What the output states if no fields are given."""


@dataclass(frozen=True, slots=True)
class TakenNames:
    """Names in the rules that mean something else in a patch."""

    lists: Collection[str] = ()
    """Names of lists, which stand for their items wherever one is written."""
    exceptions: Collection[str] = ()
    """Names of exceptions: those of an earlier patch may be among them."""


def patch_text(found: Iterable[Proposal], taken: TakenNames) -> str:
    """Return a rule file that appends exceptions to their rules."""
    by_rule: dict[str, list[Proposal]] = {}
    for proposal in found:
        by_rule.setdefault(proposal.rule, []).append(proposal)
    return _HEAD + "".join(_rule(rule, own, taken) for rule, own in by_rule.items())


def witness_cases(proposal: Proposal) -> Iterator[str]:
    """Yield cases of a test file in which an alert is quiet; none if too little is known of the alert.

    The first is without ancestors: few rules depend on them, and their command lines are nobody's business.
    """
    whole = proposal.witness
    if {"evt.type", "proc.name"} <= whole.keys():
        for fields in ({name: whole[name] for name in whole if not name.startswith(_ANCESTRY)}, whole):
            yield quiet_case_text(f"{_named(proposal)} is quiet", [write_event(fields)], proposal.rule)


def cases_text(cases: Iterable[str]) -> str:
    """Return a test file for the rules beside it."""
    return f"cases:\n{''.join(cases)}"


def suite_text(cases: Sequence[str], rule_files: Iterable[str]) -> str:
    """Return a test file with the cases of exceptions; empty if there are none.

    rule_files: in load order, the patch last; relative to the test file.
    """
    return f"rules: {flow_text(list(rule_files))}\n\n{cases_text(cases)}" if cases else ""


def _rule(rule: str, found: list[Proposal], taken: TakenNames) -> str:
    lines: list[str] = []
    numbers = count(1)
    for each in found:
        if not each.exception:
            names = (f"tuned_{_slug(each)}_{number}" for number in numbers)
            name = next(name for name in names if name not in taken.exceptions)
            lines.append(_quiets(each))
            lines += [*exception_head(name, each.conditions), values_line(each.conditions, taken.lists)]
    for name in dict.fromkeys(each.exception for each in found if each.exception):
        lines += exception_head(name)
        for each in found:
            if each.exception == name:
                lines += [f"    {_quiets(each)}", values_line(each.conditions, taken.lists)]
    return f"\n{appended_text(rule, lines)}"


def _quiets(proposal: Proposal) -> str:
    hosts = count_of(proposal.hosts, "host")
    return f"    # Quiets {proposal.alerts:,} of {count_of(proposal.of_rule, 'alert')}, on {hosts}."


def _named(proposal: Proposal) -> str:
    return " and ".join(each.text for each in proposal.conditions[:2])


def _slug(proposal: Proposal) -> str:
    last = proposal.conditions[0].value.rstrip("/").rpartition("/")[2]
    return re.sub(r"[^a-z0-9]+", "_", last.lower()).strip("_")[:40] or "any"


_ACTIONS = "acts.avro"
"""Recording beside the built-in rules of one harmless action for each of them."""
_MOST_TRIED = 256
"""Exceptions whose results are cached."""


@dataclass(frozen=True, slots=True)
class Harm:
    """The alerts that an exception would hide."""

    tests: tuple[str, ...]
    """Names of test cases."""
    actions: int
    """Alerts of the rule on the recorded actions."""
    tested: int
    """Test cases and recorded alerts that it was tried on; 0 proves nothing."""

    def sentence(self, marked: int = 0) -> str:
        """Return what the trial showed. marked: alerts that people marked as real, among those that it quiets."""
        hides = [f"the test {printable(name)!r}" for name in self.tests[:3]]
        hides += [f"{len(self.tests) - 3} more tests"] if len(self.tests) > 3 else []
        hides += [count_of(self.actions, "recorded attack")] if self.actions else []
        hides += [f"{count_of(marked, 'alert')} that people marked as real"] if marked else []
        if hides:
            return f"HARMFUL: it would hide {', '.join(hides)}."
        if not self.tested:
            return "Unproved: the rule has no tests, so nothing shows what it would hide."
        attacks = count_of(self.tested, "attack")
        return f"Harmless as far as tested: {attacks} of tests and recordings still raise the alert."


class HarmTrial:
    """Tries exceptions on the tests beside rule files, given in load order, and on the recorded actions."""

    def __init__(self, files: Sequence[RuleFile]) -> None:
        """Find the tests. Raises BadInput."""
        self._files = tuple(files)
        self._loaded = load_rules(self._files)
        self._tried = lru_cache(_MOST_TRIED)(self._harm)
        exceptions = (each.name for rule in self._loaded.rules for each in rule.exceptions)
        self.taken = TakenNames(frozenset(self._loaded.lists), frozenset(exceptions))
        paths = [file.name for file in files if Path(file.name).is_file()]
        names = tuple(file.name for file in files)
        recorded = [folder / _ACTIONS for folder in dict.fromkeys(Path(path).parent for path in paths)]
        tests = FileWatch([*map(Path, map(test_file_of, paths)), *recorded])
        self._suites = [tested.suite for tested in find_tests(paths, names, loaded={names: self._loaded}).tested]
        self._actions = [each for each in recorded if each.is_file()]
        cases = (case for suite in self._suites for case in suite.cases)
        self._watches = (tests, FileWatch(Path(case.recording) for case in cases if case.recording is not None))

    def is_current(self, files: Sequence[RuleFile]) -> bool:
        """Return whether it is of these rules, and whether neither tests nor recordings changed since it found them."""
        return self._files == tuple(files) and not any(watch.changed() for watch in self._watches)

    def of(self, proposal: Proposal) -> Harm:
        """Return what an exception would hide, also from an attacker who chooses names and command lines to fit it.

        Raises BadInput if a recording can't be read.
        """
        try:
            return self._tried(proposal.rule, _proved(proposal.conditions))
        except (OSError, BadBatch) as error:
            raise BadInput(f"can't read a recording of the tests: {error}.") from None

    def _harm(self, rule: str, conditions: tuple[FieldCondition, ...]) -> Harm:
        before, after = self._versions(Proposal(rule, conditions, 0, 0, 1, 0, {}))
        cases = list(self._cases(rule))
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
    return RuleSet(rules, loaded.macros)


def _raises(rules: RuleSet, suite: Suite, case: Case) -> bool:
    return bool(rules.rules) and _runner(replace(suite, cases=(case,)), rules).run(case).passed


def _runner(suite: Suite, rules: RuleSet) -> Runner:
    return Runner(suite, rules, "all", lambda path: read_recording(Path(path)))


def _alerts(rules: RuleSet, batches: Iterable[EventBatch]) -> int:
    evaluator = Evaluator(compile_ruleset(rules.rules, rules.macros))
    return sum(len(evaluator.replay(batch)) for batch in batches) + len(evaluator.correlator.finish())


@dataclass(frozen=True, slots=True)
class DraftedRule:
    """A rule that loads."""

    text: str
    """The item of a rule file."""
    warnings: tuple[SearchProblem, ...] = ()


def drafted_rule(condition: str, name: str, fields: Sequence[str], files: Sequence[RuleFile]) -> DraftedRule:
    """Return a condition as a rule.

    Args:
        condition: in the language of rules.
        name: of the rule.
        fields: what its output states.
        files: rule files whose macros and lists the condition uses, and whose rules have other names.

    Raises:
        BadCondition: It is no condition, or the rule would not load.
    """
    if not name or len(name) > MAX_NAME or not name.isprintable():
        raise BadCondition(SearchProblem(f"the rule needs a name of at most {MAX_NAME} characters"))
    if any(resolve_field(each) is None for each in fields):
        raise BadCondition(SearchProblem("a field is not known", "`lanner fields` lists them"))
    compile_search(condition, files)
    lines = condition.replace("\r\n", "\n").strip().split("\n")
    output = " ".join(f"{each}=%{each}" for each in fields or _OUTPUT)
    text = "\n".join(
        (
            f"- rule: {yaml_scalar(name)}",
            f"  desc: {yaml_scalar(f'{name}; describe what it means, and why it is worth an alert')}",
            "  condition: |-",
            *(f"    {line}".rstrip() for line in lines),
            f"  output: {yaml_scalar(f'{name} | {output}')}",
            "  priority: NOTICE",
            "  tags: [hunt]",
            "",
        )
    )
    found = load_rules((*files, RuleFile(_FILE, text)))
    if any(each.type == "rule" and each.name == name for each in found.redefinitions):
        raise BadCondition(SearchProblem("another rule has this name", "choose another one, so that it isn't replaced"))
    own = [each for each in found.errors if each.file == _FILE]
    if own:
        raise BadCondition(*(SearchProblem(each.message, each.hint) for each in own))
    warnings = (SearchProblem(each.message, each.hint) for each in found.warnings if each.file == _FILE)
    return DraftedRule(text, tuple(warnings))
