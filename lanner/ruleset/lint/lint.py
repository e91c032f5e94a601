"""Applies all lints to loaded rules."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import chain, islice

from lanner.ruleset.lint.codes import LintCode
from lanner.ruleset.lint.collected import never_collected
from lanner.ruleset.lint.conditions.never_true import contradictions, unbounded_alternatives, useless_exceptions
from lanner.ruleset.lint.conditions.shadowed import shadowed_rules
from lanner.ruleset.lint.ignores import Ignores
from lanner.ruleset.lint.texts import ListItems, texts_of
from lanner.ruleset.lint.values import value_problems
from processor.compiler.recursion import deep
from processor.loading import LoadResult, Problem, Redefinition, RuleFile

_MOST = 1000
"""Lints that are reported, as of a file's other problems."""


def linted(result: LoadResult, files: Sequence[RuleFile], *, first_match: bool = True) -> LoadResult:
    """Return the result with lints, and without what comments in the files switch off.

    Args:
        result: the loaded rules, enabled and disabled as configured.
        files: the files that they were loaded from.
        first_match: whether an event raises only the alert of the first rule that matches it.
    """
    ignores = Ignores(files)
    with deep():
        lints = chain(ignores.problems(), _lints(result, first_match=first_match))
        found = tuple(dict.fromkeys(islice(ignores.apply(lints), _MOST)))
    warnings = tuple(ignores.apply(result.warnings))
    quieter = replace(
        result,
        warnings=warnings,
        files=tuple(replace(file, warnings=tuple(ignores.apply(file.warnings))) for file in result.files),
        infos=tuple(problem for problem in found if problem.code.severity == "info"),
    )
    return quieter.with_errors(problem for problem in found if problem.code.is_error).with_warnings(
        problem for problem in found if problem.code.severity == "warning"
    )


def _lints(result: LoadResult, *, first_match: bool) -> Iterator[Problem]:
    yield from map(_redefined, result.redefinitions)
    items = ListItems(result.lists)
    for text in texts_of(result.macros.values(), result.rules):
        yield from value_problems(text, items)
        yield from contradictions(text)
    for rule in result.rules:
        yield from unbounded_alternatives(rule)
        yield from useless_exceptions(rule)
    yield from never_collected(result.rules, result.macros)
    if first_match:
        yield from shadowed_rules(result.rules, result.correlations)


def _redefined(item: Redefinition) -> Problem:
    earlier = f"{item.earlier.file}:{item.earlier.line}"
    hint = "add `override` or `append` to change only a part"
    if item.location.file == item.earlier.file:
        message = (
            f"{item.type} '{item.name}' is defined twice in this file: this replaces that of line {item.earlier.line}"
        )
        return Problem(
            LintCode.LINT_DUPLICATE_NAME, message, item.type, item.name, item.location, f"rename it, or {hint}"
        )
    message = f"{item.type} '{item.name}' redefines that of {earlier}"
    return Problem(LintCode.LINT_REDEFINED, message, item.type, item.name, item.location, hint)
