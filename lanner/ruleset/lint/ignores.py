"""Comments that switch off warnings and lints: `# lanner: ignore[LINT_LONG_NAME]`."""

import re
from collections.abc import Iterable, Iterator, Sequence

from lanner.ruleset.lint.codes import LintCode
from processor.loading import Problem, ProblemCode, RuleFile
from processor.loading.problems.hints import did_you_mean
from schemas.yaml.source import SourceFile

_COMMENT = re.compile(r"#\s*lanner:\s*ignore\[([^\]\n]*)\]")
_ONLY_COMMENT = re.compile(r"\s*#")
_HEAD = re.compile(r"\s*-\s+[\"']?(?:rule|macro|list)[\"']?\s*:")
_BLOCK = re.compile(r"\s*(?:-\s+)?[\w-]+\s*:\s*[>|]")
CODES = {code.name for code in (*LintCode, *ProblemCode) if not (isinstance(code, ProblemCode) and code.is_error)}
"""The codes that a comment can switch off: not the errors that keep rules from loading."""


class Ignores:
    """The comments of a set of files.

    A comment applies to its line; on the line of `condition: >`, to that text; on an item's first line, to the item.
    A line that has only a comment applies to the next line.
    """

    def __init__(self, files: Sequence[RuleFile]) -> None:
        texts = (
            (file.name, file.text if isinstance(file.text, str) else file.text.decode("utf-8", "replace"))
            for file in files
        )
        self._sources = {name: SourceFile(name, text) for name, text in texts if "lanner:" in text}
        self._lines = {name: source.text.split("\n") for name, source in self._sources.items()}

    def apply(self, problems: Iterable[Problem]) -> Iterator[Problem]:
        """Yield the problems that no comment switches off."""
        return (problem for problem in problems if problem.code.name not in CODES or not self._is_ignored(problem))

    def problems(self) -> Iterator[Problem]:
        """Yield a problem for each code in a comment that doesn't exist, or that can't be switched off."""
        for source in self._sources.values():
            for found in _COMMENT.finditer(source.text):
                for code in _codes(found[1]):
                    if code not in CODES:
                        start = source.text.index(code, found.start(1)) if code else found.start(1)
                        hint = did_you_mean(code, CODES) or "docs/rules-lints.md lists the codes"
                        message = f"'{code}' is not a code that can be ignored"
                        location = source.locate(start, start + len(code))
                        yield Problem(LintCode.LINT_UNKNOWN_IGNORE, message, "comment", "", location, hint)

    def _is_ignored(self, problem: Problem) -> bool:
        lines = self._lines.get(problem.file)
        if lines is None or not 0 < problem.line <= len(lines):
            return False
        return any(
            problem.code.name in _codes(found[1])
            for line in _places(lines, problem.line - 1)
            if (found := _COMMENT.search(line)) is not None
        )


def _places(lines: Sequence[str], index: int) -> Iterator[str]:
    """Yield the lines whose comments apply to a line: itself, the heads of its text and its item, and those above."""
    yield from _with_comments_above(lines, index)
    is_inside = True
    for number in range(index, -1, -1):
        if is_inside and _indentation(lines[number]) < _indentation(lines[index]):
            is_inside = False
            if _BLOCK.match(lines[number]):
                yield from _with_comments_above(lines, number)
        if _HEAD.match(lines[number]):
            yield from _with_comments_above(lines, number)
            return


def _with_comments_above(lines: Sequence[str], number: int) -> Iterator[str]:
    yield lines[number]
    while number > 0 and _ONLY_COMMENT.match(lines[number - 1]):
        number -= 1
        yield lines[number]


def _indentation(line: str) -> int:
    return len(line) - len(line.lstrip()) if line.strip() else len(line)


def _codes(text: str) -> list[str]:
    return [code.strip() for code in text.split(",")]
