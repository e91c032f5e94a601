"""Reports of problems: text for people, JSON for programs, annotations for GitHub.

Rule files are untrusted: whatever they contain, the output is printable.
"""

import json
from collections.abc import Iterable

from foundation.yaml.text import excerpt, visible
from processor.loading.problems import Code, Problem, Severity
from processor.loading.rules import LoadResult

_RED, _YELLOW, _CYAN, _BOLD, _END = "\x1b[31m", "\x1b[33m", "\x1b[36m", "\x1b[1m", "\x1b[0m"
DOCUMENTATION = "docs/rules-lints.md"
_GITHUB = {"error": "error", "warning": "warning", "info": "notice"}


def as_text(problems: Iterable[Problem], *, colour: bool = False, errors_as: Severity = "error") -> str:
    """Return problems as text: their lines, with the location underlined, and hints.

    errors_as: what to call errors: for lints, which keep no rules from loading, a warning.
    """
    return "\n".join(_block(problem, colour=colour, errors_as=errors_as) for problem in problems)


def _block(problem: Problem, *, colour: bool, errors_as: Severity) -> str:
    red, yellow, cyan, bold, end = (_RED, _YELLOW, _CYAN, _BOLD, _END) if colour else ("",) * 5
    word = errors_as if problem.code.severity == "error" else problem.code.severity
    tone = {"error": red, "warning": yellow, "info": cyan}[word]
    head = f"{bold}{_location(problem)}{end}: {tone}{word} {problem.code.name}{end}: {visible(problem.message)}"
    lines = [head]
    if problem.item_name:
        lines[0] += f" ({visible(problem.item_type)} '{visible(problem.item_name)}')"
    lines += excerpt(problem.location, tone, end)
    if problem.hint:
        lines.append(f"  {cyan}= {visible(problem.hint)}{end}")
    return "\n".join(lines) + "\n"


def _location(problem: Problem) -> str:
    file = visible(problem.file)
    return f"{file}:{problem.line}:{problem.column}" if problem.line else file


def summary(result: LoadResult) -> str:
    """Return the result of loading in one line."""
    files = _count(len(result.files), "file")
    if not result.ok or result.warnings:
        return f"{_count(len(result.errors), 'error')}, {_count(len(result.warnings), 'warning')} in {files}"
    problems = "no errors or warnings" if result.infos else "no problems"
    return f"{_count(len(result.rules), 'rule')} in {files}: {problems}"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def as_json(result: LoadResult) -> str:
    """Return the result as ASCII JSON."""
    return json.dumps(
        {
            "ok": result.ok,
            "errors": [_fields(problem) for problem in result.errors],
            "warnings": [_fields(problem) for problem in result.warnings],
            "infos": [_fields(problem) for problem in result.infos],
        },
        indent=2,
    )


def _fields(problem: Problem) -> dict[str, str | int]:
    return {
        "code": problem.code.name,
        "severity": problem.code.severity,
        "message": problem.message,
        "hint": problem.hint,
        "item_type": problem.item_type,
        "item_name": problem.item_name,
        "file": problem.file,
        "line": problem.line,
        "column": problem.column,
        "end_line": problem.location.end_line,
        "end_column": problem.location.end_column,
        "docs": documented_at(problem.code),
    }


def documented_at(code: Code) -> str:
    """Return the documentation page of a code, with the section about it."""
    return f"{DOCUMENTATION}#{code.name.lower()}"


def as_github(problems: Iterable[Problem]) -> str:
    """Return problems as workflow commands, which GitHub shows next to the lines of a change."""
    return "".join(f"{_annotation(problem)}\n" for problem in problems)


def _annotation(problem: Problem) -> str:
    kind = _GITHUB[problem.code.severity]
    parts = [f"file={_property(problem.file)}"]
    if problem.line:
        parts.append(f"line={problem.line},col={problem.column},endColumn={problem.location.end_column}")
    parts.append(f"title={_property(problem.code.name)}")
    message = f"{problem.message} ({problem.hint})" if problem.hint else problem.message
    return f"::{kind} {','.join(parts)}::{_data(message)}"


def _data(text: str) -> str:
    # After control characters are escaped, only the command's own syntax needs escaping.
    return visible(text).replace("%", "%25")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")
