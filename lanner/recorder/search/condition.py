"""Compiles a search's condition as that of a rule: with macros and lists of rule files, and the same errors."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from processor.compiler.batch import ClassMatcher, compile_rules
from processor.compiler.host_names import names_to_resolve
from processor.correlation.plan.split import stateful_names
from processor.loading import LoadResult, Problem, Rule, RuleFile, load_rules
from schemas.errors import LannerError

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
    """What is wrong with a condition."""

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

    matchers: Mapping[str, ClassMatcher]
    """By event type."""
    warnings: tuple[SearchProblem, ...] = ()


def compile_search(text: str, files: Sequence[RuleFile]) -> SearchCondition:
    """Compile a condition. Raises BadCondition.

    Args:
        text: in the rule language.
        files: rule files, whose macros and lists it may use.
    """
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
    if names := stateful_names(rule.condition, result.correlations):
        raise BadCondition(
            SearchProblem(f"'{names[0]}' counts events over time", "search for the condition that it counts")
        )
    if names_to_resolve((rule.condition,)):
        raise BadCondition(SearchProblem("host names are not resolved in a search", "compare with an address"))
    matchers = compile_rules([rule.condition]).matchers
    if not matchers:
        raise BadCondition(SearchProblem("no event can match this condition"))
    warnings += tuple(
        _problem(each) for each in result.warnings if each.file == _NAME and each.code.name not in _ABOUT_RULES
    )
    return SearchCondition(matchers, warnings)


def _load(text: str, files: Sequence[RuleFile]) -> LoadResult:
    # A literal block: lines and columns stay what they are, apart from what stands before them.
    lines = "".join(f"{_INDENT}{line}\n" for line in text.split("\n"))
    return load_rules((*files, RuleFile(_NAME, f"{_HEAD}{lines}")))


def _problem(found: Problem) -> SearchProblem:
    line = max(found.line - _LINES_BEFORE, 0)
    column = max(found.column - len(_INDENT), 1) if line else 0
    return SearchProblem(found.message, found.hint, line, column, found.location.width if line else 0)
