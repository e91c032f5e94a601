"""The kinds of problems that only Lanner reports; docs/rules-lints.md has a section with examples for each."""

import re
from collections.abc import Iterable, Iterator, Sequence
from enum import Enum

from foundation.text import did_you_mean
from foundation.yaml.nodes import SourceFile
from processor.loading import Problem, ProblemCode, RuleFile
from processor.loading.problems import Severity


class LintCode(Enum):
    """A likely mistake in rules that load; the value is a short description.

    Rules with any of these load and run, as in Falco. Errors are certain mistakes: `lanner rules validate` fails.
    """

    LINT_CONTRADICTION = "Comparisons that can't be true together"
    LINT_DUPLICATE_NAME = "Two items of one name in a file"
    LINT_TYPOGRAPHIC_QUOTE = "Typographic quotation marks"
    LINT_EMPTY_LIST = "Comparison with an empty list"
    LINT_EVENT_TYPE_NOT_COLLECTED = "Event type that no collector sends"
    LINT_EXCEPTION_NEVER_APPLIES = "Exception that the condition excludes"
    LINT_FIELD_NEVER_FILLED = "Field that never has a value"
    LINT_FIELD_OF_OTHER_EVENTS = "Field that these events never have"
    LINT_GLOB = "Pattern that is compared literally"
    LINT_LONG_NAME = "Process name of more than 15 bytes"
    LINT_NAME_AS_PATH = "Name that is compared with a path"
    LINT_PATH_AS_NAME = "Path that is compared with a name"
    LINT_SHADOWED_RULE = "Rule that never matches first"
    LINT_TRAILING_SLASH = "Path that ends with a slash"
    LINT_UNBOUNDED_ALTERNATIVE = "Alternative that restricts no event type"
    LINT_UNREAL_PATH = "Path in a form that no value has"
    LINT_UNKNOWN_LIST = "Value that looks like the name of a list"
    LINT_UNKNOWN_IGNORE = "Comment that ignores an unknown code"
    LINT_REDEFINED = "Item that redefines one of another file"

    @property
    def severity(self) -> Severity:
        """How serious it is."""
        if self in _ERRORS:
            return "error"
        return "info" if self is LintCode.LINT_REDEFINED else "warning"


_ERRORS = frozenset({LintCode.LINT_CONTRADICTION, LintCode.LINT_DUPLICATE_NAME, LintCode.LINT_TYPOGRAPHIC_QUOTE})


_COMMENT = re.compile(r"#\s*lanner:\s*ignore\[([^\]\n]*)\]")
_ONLY_COMMENT = re.compile(r"\s*#")
_HEAD = re.compile(r"\s*-\s+[\"']?(?:rule|macro|list)[\"']?\s*:")
_BLOCK = re.compile(r"\s*(?:-\s+)?[\w-]+\s*:\s*[>|]")
CODES = {code.name for code in (*LintCode, *ProblemCode) if isinstance(code, LintCode) or code.severity != "error"}
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
