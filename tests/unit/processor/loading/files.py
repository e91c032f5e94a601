"""Helpers for tests of rule files, and their fixtures.

A fixture file contains several cases of rule files. Each case begins with `### what it shows`; a line `#@ NAME`
begins another file of the same case. Comments state the expected result: `#! CODE LINE:COLUMN message` for each
problem in order (errors first), `#= rule: printed condition` for each rule whose condition is compared.
"""

from dataclasses import dataclass
from pathlib import Path

import pytest

from processor.loading import LoadResult, Problem, RuleFile, load_rules

FIXTURES = Path(__file__).with_name("fixtures")


@dataclass(frozen=True)
class FileCase:
    """Rule files and the expected result."""

    files: tuple[RuleFile, ...]
    problems: tuple[str, ...]
    conditions: tuple[str, ...]


def each_file_case(name: str) -> pytest.MarkDecorator:
    """Run a test once per case of a fixture file, as its argument ``case``."""
    blocks = (FIXTURES / name).read_text(encoding="utf-8").split("\n### ")
    return pytest.mark.parametrize("case", [_param(block) for block in blocks[1:]])


def _param(block: str) -> object:
    title, _, body = block.partition("\n")
    files = []
    for number, part in enumerate(body.split("\n#@ ")):
        head, _, text = part.partition("\n") if number else ("rules.yaml", "", part)
        lines = [line for line in text.splitlines(keepends=True) if not line.startswith(("#!", "#="))]
        files.append(RuleFile(head, "".join(lines)))
    marked = [line for line in body.splitlines() if line.startswith(("#!", "#="))]
    problems = tuple(line[3:] for line in marked if line.startswith("#!"))
    return pytest.param(
        FileCase(tuple(files), problems, tuple(line[3:] for line in marked if line.startswith("#="))), id=title
    )


def load(text: str) -> LoadResult:
    """Load one file."""
    return load_rules([RuleFile("rules.yaml", text)])


def shown(problem: Problem) -> str:
    """Return a problem in the notation of the fixtures."""
    return f"{problem.code.name} {problem.line}:{problem.column} {problem.message}"


def rule(condition: str, extra: str = "") -> str:
    """Return a complete rule with a condition."""
    return f"- rule: r\n  desc: d\n  condition: {condition}\n  output: o\n  priority: INFO\n{extra}"
