from collections.abc import Iterable
from typing import Any

from processor.language.printer import print_condition
from processor.loading import LoadResult, Problem, RuleFile, load_rules
from schemas.catalog.fields import SOURCES
from tests.conformance.cases import Case, each_case

# Falco 0.44.1's results where its later engine reports something else, or nothing.
_NOT_COMPARED = frozenset({"LOAD_NO_EVTTYPE", "LOAD_UNKNOWN_KEY"})
_KNOWN_HERE = frozenset(f"Unknown source {name}, skipping" for name in SOURCES)
"""Falco knows these sources by plugins only, which the cases lack."""


@each_case("rules_load")
def test_loading_rule_files(case: Case) -> None:
    """Files load, fail and warn as in Falco."""
    result = load_rules([RuleFile(file["name"], file["yaml"]) for file in case["files"]])
    expect = case["expect"]

    assert result.ok is expect["ok"], result.errors
    _compare_problems(expect, result)
    _compare_with_falco(case.get("falco"), expect, result)
    _compare_state(expect.get("after", {}), result)


def _comparable(codes: Iterable[str], messages: list[str]) -> set[str]:
    """Return the codes of Falco's warnings, without that of a source that it lacks."""
    return set(codes) - ({"LOAD_UNKNOWN_SOURCE"} if not _KNOWN_HERE.isdisjoint(messages) else set())


def _codes(problems: tuple[Problem, ...]) -> set[str]:
    return {problem.code.name for problem in problems}


def _compare_problems(expect: dict[str, Any], result: LoadResult) -> None:
    if expect["errors"] or expect["ok"]:
        # A case may state only that loading fails.
        assert _codes(result.errors) == set(expect["errors"])
    assert _codes(result.warnings) >= _comparable(expect["warnings"], expect["warning_contains"])
    is_yaml_error = "LOAD_ERR_YAML_PARSE" in expect["errors"]
    for text in [] if is_yaml_error else expect["error_contains"]:
        assert any(text in problem.message for problem in result.errors), text
    for text in expect["warning_contains"]:
        assert text in _KNOWN_HERE or any(text in problem.message for problem in result.warnings), text
    for text in expect.get("warning_absent", []):
        assert not any(text in problem.message for problem in result.warnings), text
    if expect.get("no_warnings"):
        assert result.warnings == ()
    if expect.get("has_warnings"):
        assert result.warnings
    for text in expect.get("error_snippet_contains", []):
        assert any(text in problem.location.text for problem in result.errors), text
    for item in expect.get("error_items", []):
        assert any(_is_item(problem, item) for problem in result.errors), (item, result.errors)
    for item in expect.get("warning_items", []):
        assert item.get("message") in _KNOWN_HERE or any(_is_item(problem, item) for problem in result.warnings), (
            item,
            result.warnings,
        )
    for index, ok in expect.get("file_ok", {}).items():
        assert result.files[int(index)].ok is ok


def _is_item(problem: Problem, item: dict[str, str]) -> bool:
    return (problem.code.name, problem.item_type, problem.item_name) == (
        item["code"],
        item["item_type"],
        item.get("item_name", ""),
    )


def _compare_with_falco(files: list[dict[str, Any]] | None, expect: dict[str, Any], result: LoadResult) -> None:
    """Compare the warnings of each file with Falco's, if Falco accepted all files."""
    if not files or not expect["ok"] or not all(file["ok"] for file in files):
        return
    for file, ours in zip(files, result.files, strict=True):
        theirs = _comparable(
            (warning["code"] for warning in file["warnings"]), [warning["message"] for warning in file["warnings"]]
        )
        assert _codes(ours.warnings) - _NOT_COMPARED == theirs - _NOT_COMPARED


def _compare_state(after: dict[str, Any], result: LoadResult) -> None:
    rules = {rule.name: rule for rule in result.rules}
    for name, text in after.get("condition_compiled", {}).items():
        assert print_condition(rules[name].condition) == text
    for name, text in after.get("output_compiled", {}).items():
        assert rules[name].output == text
    for name, text in after.get("output_compiled_lacks", {}).items():
        assert text not in rules[name].output
    if "enabled_rules_count" in after:
        assert sum(rule.enabled for rule in result.rules) == after["enabled_rules_count"]
    for path, value in after.get("describe", {}).items():
        assert _described(path, result) == value, path
    if "warning_snippet" in after:
        _compare_snippet(after["warning_snippet"], result)


def _compare_snippet(snippet: dict[str, str], result: LoadResult) -> None:
    contained = snippet.get("some_warning_snippet_contains") or snippet["snippet_contains"]
    lacking = snippet.get("that_snippet_lacks") or snippet.get("snippet_lacks") or "\0"
    code = snippet.get("code")
    lines = [(problem.location.text, problem.code.name) for problem in result.warnings]
    assert any(contained in line and lacking not in line and code in (None, name) for line, name in lines), lines


def _described(path: str, result: LoadResult) -> Any:
    """Return the value at a path in Falco's description of rule files."""
    macros = [{"info": {"name": macro.name, "condition": macro.condition_text}} for macro in result.macros.values()]
    lists = [
        {"info": {"name": item.name}, "details": {"items_compiled": list(item.items), "lists": []}}
        for item in result.lists.values()
    ]
    rules = [
        {
            "info": {
                "name": rule.name,
                "condition": rule.condition_text,
                "output": rule.output,
                "description": rule.description,
                "priority": str(rule.priority),
                "tags": list(rule.tags),
                "source": rule.source,
                "enabled": rule.enabled,
                "capture": rule.capture,
                "capture_duration": rule.capture_duration,
            }
        }
        for rule in result.rules
    ]
    here: Any = {"rules": rules, "macros": macros, "lists": lists}
    for step in path.removesuffix("#size").split("/"):
        here = here[int(step)] if isinstance(here, list) else here[step]
    return len(here) if path.endswith("#size") else here
