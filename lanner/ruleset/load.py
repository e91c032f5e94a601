"""Loads rules for use: an error in any file means no rules at all, as in Falco."""

import difflib
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import cache

from foundation.text import count_of
from foundation.yaml.nodes import MappingNode, ScalarNode, SequenceNode, SourceFile, YamlError
from lanner.errors import BadInput
from lanner.ruleset.active import SHIPPED_FOLDER, ActiveRules, Appended, RuleChoices, on_top
from lanner.ruleset.lint.lint import linted
from processor.loading import (
    LoadResult,
    Problem,
    Redefinition,
    Rule,
    RuleFile,
    indicator_problems,
    load_rules,
    read_rule_files,
    report,
)
from processor.loading.falco_compatibility import falco_problems
from processor.loading.items.python_file import documents_of
from processor.loading.rules import apply_switches, unmatched

_UNDEFINED_MACRO = re.compile(r"Undefined macro '(\w+)'")
_OF_FALCO = {
    "container": "in_container",
    "spawned_process": "program_started",
    "open_read": "file_opened_for_reading",
    "open_write": "file_opened_for_writing",
}
"""Falco's most used macros, and those of the built-in rules for the same purpose."""
_UNDEFINED = re.compile(r"no (list|macro|rule) by that name already exists")


def with_shipped_hints(problems: Iterable[Problem]) -> tuple[Problem, ...]:
    """Return errors about unknown items with a hint if the built-in rules define them."""
    return tuple(map(_with_hint, problems))


def _with_hint(problem: Problem) -> Problem:
    if (found := _UNDEFINED_MACRO.search(problem.message)) is not None:
        kind, name = "macro", found[1]
    elif (found := _UNDEFINED.search(problem.message)) is not None:
        kind, name = found[1], problem.item_name
    else:
        return problem
    if kind == "macro" and name in _OF_FALCO:
        hint = f"Falco's rules define it: load them too; the built-in rules have '{_OF_FALCO[name]}' for it"
        return replace(problem, hint=hint)
    file = _shipped().get((kind, name))
    if file is None:
        return problem
    hint = (
        f"{kind} '{name}' is built in ({file}): load that too, without --alone, with --rules, or in a test by 'rules:'"
    )
    return replace(problem, hint=hint)


@cache
def _shipped() -> Mapping[tuple[str, str], str]:
    result = load_rules(read_rule_files([SHIPPED_FOLDER] if SHIPPED_FOLDER.is_dir() else []))
    items = (
        *(("macro", each.name, each.location.file) for each in result.macros.values()),
        *(("list", each.name, each.location.file) for each in result.lists.values()),
        *(("rule", each.name, each.file) for each in result.rules),
    )
    return {(kind, name): file for kind, name, file in items}


def load_or_fail(choices: RuleChoices, *, warnings: bool = True) -> ActiveRules:
    """Load the rules, and enable and disable them as chosen.

    warnings: whether to include the loader's warnings in the notices. Raises BadInput with all errors.
    """
    result = load_rules(choices.files, choices.published)
    if not result.errors:
        result = result.with_problems(indicator_problems(result))
    if result.errors:
        errors = with_shipped_hints(result.errors)
        raise BadInput(*(report.as_text([problem]).rstrip("\n") for problem in errors))
    rules = apply_switches(result.rules, choices.switches)
    if warnings:
        linting = linted(replace(result, rules=rules), choices.files, first_match=choices.rule_matching == "first")
        result = replace(linting, errors=(), warnings=(*linting.errors, *linting.warnings))
    counts = dict.fromkeys((file.name for file in choices.files), 0)
    for rule in rules:
        counts[rule.file] = counts.get(rule.file, 0) + 1
    notices = [f"{name}: {count_of(number, 'rule')}" for name, number in counts.items() if number]
    notices += [_redefinition(item) for item in result.redefinitions if item.location.file != item.earlier.file]
    notices += [f"indicators {name}: {each.indicators.text}" for name, each in result.indicators.items()]
    notices += [
        f"settings: no rule is {'named' if switch.by == 'rule' else 'tagged'} {switch.pattern!r}."
        for switch in unmatched(result.rules, choices.switches)
    ]
    if warnings and result.warnings:
        notices.append(report.as_text(result.warnings, errors_as="warning").rstrip("\n"))
    appended = choices.appended
    extra_fields = {rule.name: fields for rule in rules if (fields := _extra_fields(rule, appended))}
    return ActiveRules(
        tuple(_with_appended(rule, appended) for rule in rules),
        tuple(notices),
        extra_fields,
        frozenset(rule.name for rule in rules if not _has_suggested(rule, appended)),
        result.macros,
        result.lists,
        result.indicators,
        result.enrichments,
        result.actions,
    )


def _redefinition(item: Redefinition) -> str:
    return (
        f"{item.location.file}:{item.location.line}: {item.type} {item.name!r} redefines that of "
        f"{item.earlier.file}:{item.earlier.line}; add `override` or `append` to change only a part."
    )


def _with_appended(rule: Rule, appended: Sequence[Appended]) -> Rule:
    extra = [item.output for item in appended if item.output and item.is_for(rule)]
    return replace(rule, output=" ".join((rule.output, *extra))) if extra else rule


def _extra_fields(rule: Rule, appended: Sequence[Appended]) -> dict[str, str | None]:
    return {name: form for item in appended if item.is_for(rule) for name, form in item.fields}


def _has_suggested(rule: Rule, appended: Sequence[Appended]) -> bool:
    """Return whether container and pod are appended to a rule's output: the last entry that matches decides."""
    items = (item for item in reversed(appended) if item.is_for(rule))
    return next((item.suggests for item in items if item.suggests is not None), True)


def choose_rule(rules: Iterable[Rule], name: str) -> Rule:
    """Find a rule by name, ignoring case. Raises BadInput with the nearest name."""
    by_name = {rule.name: rule for rule in rules}
    found = by_name.get(name) or next((rule for rule in by_name.values() if rule.name.lower() == name.lower()), None)
    if found is None:
        close = difflib.get_close_matches(name, by_name, n=1)
        hint = f" Did you mean {close[0]!r}?" if close else " `lanner rules list` lists them."
        raise BadInput(f"there is no rule {name!r}.{hint}")
    return found


def changed_rules(files: Iterable[RuleFile]) -> frozenset[str]:
    """Return the names of the rules that files define or change; a file that can't be parsed has none."""
    names: set[str] = set()
    for file in files:
        text = file.text if isinstance(file.text, str) else file.text.decode("utf-8", "replace")
        try:
            documents = documents_of(SourceFile(file.name, text))
        except YamlError:
            continue
        for item in (item for document in documents if isinstance(document, SequenceNode) for item in document.items):
            name = item.get("rule") if isinstance(item, MappingNode) else None
            if isinstance(name, ScalarNode):
                names.add(name.value)
    return frozenset(names)


def validate_files(
    below: Sequence[RuleFile],
    checked: Sequence[RuleFile],
    *,
    falco: bool = False,
    rule_matching: str = "first",
    further: Callable[[LoadResult], Iterable[Problem]] | None = None,
) -> LoadResult:
    """Load and lint files on top of others, whose items they can use; only errors in these others are reported.

    falco: whether to report what Falco doesn't support as errors; rule_matching: `first` or `all`; further: returns
    problems of all files together that loading them doesn't find.
    """
    files = on_top(below, checked)
    loaded = load_rules(files)
    found = indicator_problems(loaded)
    result = linted(loaded.with_problems(found), files, first_match=rule_matching == "first")
    if falco:
        result = result.with_problems(falco_problems(checked))
    if further is not None:
        result = result.with_problems(further(result))
    return _only(
        replace(result, errors=with_shipped_hints(result.errors)),
        {*(file.name for file in checked), *(each.file for each in found)},
    )


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
