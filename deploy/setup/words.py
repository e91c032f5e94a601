"""Report words in documentation that the project doesn't use; deploy/setup/words.txt lists them with replacements.

Usage: words.py [FILE...]

Without arguments it checks the files that `CHECKED` names. It reads the prose of Markdown pages, without code, the
docstrings and comments of Python files, and of other files the comments, annotations and titles. Exits with 1 if it
reports anything.
"""

import ast
import re
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
LIST = Path(__file__).with_name("words.txt")
CHECKED = (
    *("*.md", "docs/**/*.md", "deploy/**/README.md", "bench/*.py", "deploy/**/*.py"),
    *(f"deploy/**/{name}" for name in ("*.sh", "*.yml", "*.yaml", "*.conf", "*.service", "*.properties", "*.json")),
    "deploy/**/Dockerfile",
    *(f"{name}/**/*.py" for name in ("foundation", "schemas", "bus", "collector", "processor")),
    *(f"{name}/**/*.py" for name in ("notifier", "lanner", "tests")),
)
"""Patterns of the files to check."""
_BLANK = re.compile(
    r"^(?P<fence>```+)[^\n]*\n.*?^(?P=fence)[^\n]*$"  # fenced code
    r"|(?<=\n\n)(?:(?: {4}|\t)[^\n]*(?:\n|\Z))+"  # indented code
    r"|``[^\n]*?``|`[^`]*`"  # code spans
    r"|(?<=\])\([^)\s]*\)|<https?:[^>]*>",  # targets of links
    re.DOTALL | re.MULTILINE,
)
_STRING_OR_COMMENT = re.compile(
    r"(?P<comment>\#[^\n]*)"
    r"|\"{3}(?:\\.|[^\\])*?\"{3}|'{3}(?:\\.|[^\\])*?'{3}|\"(?:\\.|[^\"\\\n])*\"|'(?:\\.|[^'\\\n])*'",
    re.DOTALL,
)
"""String literals and comments of Python source; the tokenize module takes ten times as long."""
_IN_OTHER_FILES = re.compile(
    r"(?:^|(?<=\s))#(?!!)(?P<comment>.*)$"
    r"|^\s*(?:summary|action): (?P<annotation>.*)$"  # of Prometheus' alerting rules
    r"|\"(?:title|description|legendFormat)\": \"(?P<title>.*)\"",  # of Grafana's panels
    re.MULTILINE,
)


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry of the list: what not to write, and what to write instead."""

    pattern: re.Pattern[str]
    replacement: str
    docstring_only: bool


@dataclass(frozen=True, slots=True)
class Passage:
    """A piece of prose and the number of its first line."""

    line: int
    text: str
    is_docstring: bool = False


def read_list(text: str) -> list[Entry]:
    """Parse the list of words.

    Raises:
        ValueError: A line is not "PATTERN -> REPLACEMENT".

    """
    entries = []
    for line in text.splitlines():
        if not line.strip() or line.startswith("#"):
            continue
        pattern, arrow, replacement = line.partition(" -> ")
        if not arrow:
            message = f"not 'PATTERN -> REPLACEMENT': {line}"
            raise ValueError(message)
        only = pattern.startswith("docstring:")
        # A space in a pattern may be a line break in the text.
        pattern = re.sub(r"(?<!\[) (?![^\[]*\])", r"[ \\n]", pattern.removeprefix("docstring:"))
        compiled = re.compile(pattern, re.IGNORECASE | (0 if only else re.MULTILINE))
        entries.append(Entry(compiled, replacement, only))
    return entries


def _markdown(text: str) -> Iterator[Passage]:
    # Blank code out with its newlines left, so that line numbers stay right.
    prose = _BLANK.sub(lambda found: re.sub(r"[^\n]", "\x00", found[0]), text)
    yield Passage(1, prose)


def _python(text: str) -> Iterator[Passage]:
    for node in _statements(ast.parse(text)):
        # A string that stands alone documents a module, class or function, or the name before it.
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            yield Passage(node.lineno, _without_code(node.value.value), is_docstring=True)
    line, before = 1, 0
    for found in _STRING_OR_COMMENT.finditer(text):
        comment = found["comment"]
        if comment and "noqa" not in comment and "type: ignore" not in comment:
            line, before = line + text.count("\n", before, found.start()), found.start()
            yield Passage(line, _without_code(comment.lstrip("# ")))


def _statements(parent: ast.AST) -> Iterator[ast.AST]:
    """Yield the statements below a node; there is no other one in an expression."""
    for node in ast.iter_child_nodes(parent):
        if isinstance(node, ast.stmt | ast.excepthandler | ast.match_case):
            yield node
            yield from _statements(node)


def _other(text: str) -> Iterator[Passage]:
    for found in _IN_OTHER_FILES.finditer(text):
        prose = found[str(found.lastgroup)].strip("# ")
        yield Passage(1 + text.count("\n", 0, found.start(str(found.lastgroup))), _without_code(prose))


def _without_code(text: str) -> str:
    return _BLANK.sub(lambda found: re.sub(r"[^\n]", "\x00", found[0]), text)


_READERS = {".py": _python, ".md": _markdown}


def find(path: Path, entries: Iterable[Entry]) -> Iterator[tuple[int, str, str]]:
    """Yield the line, the word found and its replacement for each use of a listed word."""
    text = path.read_text(encoding="utf-8")
    passages = list(_READERS.get(path.suffix, _other)(text))
    for entry in entries:
        for passage in passages:
            if entry.docstring_only and not passage.is_docstring:
                continue
            for found in entry.pattern.finditer(passage.text):
                line = passage.line + passage.text.count("\n", 0, found.start())
                yield line, " ".join(found[0].split()), entry.replacement


def main(names: list[str]) -> int:
    """Print each use of a listed word; return the exit status."""
    chosen = [Path(name) for name in names] or sorted(path for pattern in CHECKED for path in ROOT.glob(pattern))
    entries = read_list(LIST.read_text(encoding="utf-8"))
    status = 0
    for path in chosen:
        for line, word, replacement in sorted(find(path, entries)):
            print(f"{path}:{line}: '{word}': write: {replacement}")  # noqa: T201
            status = 1
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
