"""Hints about rules that refer to built-in macros, lists and rules without loading them."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import cache

from lanner.ruleset.sources import SHIPPED_FOLDERS
from processor.loading import Problem, load_rules, read_rule_files

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
    hint = f"{kind} '{name}' is built in ({file}): load that too, without --alone or --rules, or with both files"
    return replace(problem, hint=hint)


@cache
def _shipped() -> Mapping[tuple[str, str], str]:
    folder = next((named for named in SHIPPED_FOLDERS if named.is_dir()), None)
    result = load_rules(read_rule_files([folder] if folder is not None else []))
    items = (
        *(("macro", each.name, each.location.file) for each in result.macros.values()),
        *(("list", each.name, each.location.file) for each in result.lists.values()),
        *(("rule", each.name, each.file) for each in result.rules),
    )
    return {(kind, name): file for kind, name, file in items}
