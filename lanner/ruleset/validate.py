"""Checks rule files as they will be used: on top of the rules that are active already."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from lanner.ruleset.lint.lint import linted
from lanner.ruleset.shipped import with_shipped_hints
from lanner.ruleset.sources import find_rules
from lanner.settings import Settings
from processor.loading import LoadResult, Problem, RuleFile, load_rules
from processor.loading.problems.falco_compatibility import falco_problems


def validate(settings: Settings, names: Sequence[str], *, alone: bool = False, falco: bool = False) -> LoadResult:
    """Load and lint rule files.

    Args:
        settings: which rules are active.
        names: files and folders to check on top of those; none to check the active rules.
        alone: whether to check `names` without the active rules.
        falco: whether to report what Falco doesn't support as errors.

    Returns:
        All errors, and the warnings of the files to check.

    Raises:
        BadInput: a path doesn't exist or can't be read.
    """
    checked = find_rules(replace(settings, rules_files=tuple(names)) if names else settings).files
    below: tuple[RuleFile, ...] = ()
    if names and not (alone and not settings.rules_files):
        own = {_resolved(file) for file in checked}
        below = tuple(file for file in find_rules(settings).files if _resolved(file) not in own)
    return validate_files(below, checked, falco=falco, rule_matching=settings.rule_matching)


def validate_files(
    below: Sequence[RuleFile], checked: Sequence[RuleFile], *, falco: bool = False, rule_matching: str = "first"
) -> LoadResult:
    """Load and lint files on top of others.

    Args:
        below: the files whose items the others can use; only errors in them are reported.
        checked: the files to check.
        falco: whether to report what Falco doesn't support as errors.
        rule_matching: `first` or `all`.
    """
    files = (*below, *checked)
    result = linted(load_rules(files), files, first_match=rule_matching == "first")
    if falco:
        result = result.with_errors(falco_problems(checked))
    return _only(replace(result, errors=with_shipped_hints(result.errors)), {file.name for file in checked})


def _only(result: LoadResult, names: set[str]) -> LoadResult:
    def of_checked(problems: Iterable[Problem]) -> tuple[Problem, ...]:
        return tuple(problem for problem in problems if problem.file in names)

    # An error that keeps other files from loading is never left out.
    errors = tuple(each for each in result.errors if each.file in names or each.code.name.startswith("LOAD_"))
    return replace(
        result,
        files=tuple(file for file in result.files if file.name in names),
        errors=errors,
        warnings=of_checked(result.warnings),
        infos=of_checked(result.infos),
        rules=tuple(rule for rule in result.rules if rule.file in names),
    )


def _resolved(file: RuleFile) -> Path:
    return Path(file.name).resolve()
