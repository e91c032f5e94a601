"""The rule loader: rule files in, rules ready to be compiled and all problems out.

Files are loaded in order, as in Falco: each must be valid together with the files before it, and a later
file can redefine the items of an earlier one.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from foundation.yaml.nodes import SourceLocation
from processor.loading.problems import Problem, ProblemCode
from processor.loading.rules import FileResult, LoadedIndicators, LoadedList, LoadResult, Redefinition
from processor.rule import LoadedMacro, Rule
from schemas.catalog.priorities import Priority

if TYPE_CHECKING:
    from processor.indicators.lists import PublishedFiles

__all__ = [
    "FileResult",
    "LoadResult",
    "LoadedIndicators",
    "LoadedList",
    "LoadedMacro",
    "Priority",
    "Problem",
    "ProblemCode",
    "Redefinition",
    "Rule",
    "RuleFile",
    "SourceLocation",
    "indicator_problems",
    "load_rules",
    "read_rule_files",
]


@dataclass(frozen=True, slots=True)
class RuleFile:
    """A file to load: its text, and its name as problems report it."""

    name: str
    text: str | bytes
    unreadable: str = ""
    """Why the file could not be read; empty if it was read."""


def read_rule_files(paths: Iterable[str | Path]) -> list[RuleFile]:
    """Read rule files; of a directory, all *.yaml, *.yml and *.py files except *_test files, sorted by name.

    A file that cannot be read becomes an error when it is loaded, together with the errors of other files.
    """
    files: list[RuleFile] = []
    for path in (Path(given) for given in paths):
        found = _rule_paths(path) if path.is_dir() else [path]
        files.extend(_read(file) for file in found)
    return files


def _rule_paths(directory: Path) -> list[Path]:
    return sorted(
        path
        for path in directory.iterdir()
        if path.suffix in (".yaml", ".yml", ".py") and not path.stem.endswith("_test") and path.is_file()
    )


def _read(path: Path) -> RuleFile:
    try:
        return RuleFile(str(path), path.read_bytes())
    except OSError as error:
        return RuleFile(str(path), "", error.strerror or str(error))


def load_rules(files: Sequence[RuleFile], published: "PublishedFiles | None" = None) -> LoadResult:
    """Load rule files in order. Invalid content never raises: the result has all errors and warnings.

    published: where the files of indicators of published rules are; None to take those on the disk. They are read when
    the rules are used first, or by `indicator_problems`.
    """
    # Imported here, because the parsers and checks take 6 MB, and a program whose rules are stored needs none.
    from processor.loading.loader import Loader  # noqa: PLC0415

    return Loader(published).load(files)


def indicator_problems(result: LoadResult) -> tuple[Problem, ...]:
    """Read the files of indicators that rules name, and return what is wrong with them."""
    from processor.loading.items.indicators import problems_of  # noqa: PLC0415

    return tuple(problem for each in result.indicators.values() for problem in problems_of(each))
