"""Loads rule files: reads their items, builds rules from them, and checks these."""

import codecs
from collections.abc import Sequence
from functools import cache, partial

from foundation.yaml.nodes import SourceFile, SourceLocation
from processor.indicators.lists import PublishedFiles
from processor.language.parser import RULE_DEPTH, parse
from processor.loading import RuleFile
from processor.loading.builder import Builder
from processor.loading.condition_checks import Checker, field_problem
from processor.loading.definitions import head_location
from processor.loading.items.actions import action_problems
from processor.loading.items.collection import Collection
from processor.loading.items.correlation_checks import StatefulChecker
from processor.loading.items.python_file import python_problems
from processor.loading.problems import Problem, ProblemCode
from processor.loading.reader import read_file
from processor.loading.rules import FileResult, LoadResult, Redefinition


class Loader:
    """One load: problems, items and results of all files."""

    def __init__(self, published: PublishedFiles | None) -> None:
        self._problems: list[Problem] = []
        self._collection = Collection(self._problems.append, field_problem, published)
        # Every file rebuilds the conditions of those before it.
        self._parse = cache(partial(parse, max_depth=RULE_DEPTH))
        self._checker = Checker()
        self._results: list[FileResult] = []

    def load(self, files: Sequence[RuleFile]) -> LoadResult:
        """Load files in order; errors are in the result."""
        builder = Builder(self._collection, self._parse, self._checker, self._problems.append)
        for file in files:
            self._read(file)
            builder = Builder(self._collection, self._parse, self._checker, self._problems.append)
            builder.build(whole=not any(problem.code.severity == "error" for problem in self._problems))
            self._finish(file.name)
        problems: dict[Problem, None] = {}
        for result in self._results:
            problems.update(dict.fromkeys((*result.errors, *result.warnings)))
        late: list[Problem] = []
        checked = StatefulChecker(builder.rules, builder.macros, late.append)
        enrichments = () if late or any(not result.ok for result in self._results) else self._collection.enrichments
        late += action_problems(self._collection)
        late += python_problems(checked.rules, checked.macros, enrichments)
        return LoadResult(
            files=tuple(self._results),
            errors=tuple(problem for problem in problems if problem.code.severity == "error"),
            warnings=tuple(problem for problem in problems if problem.code.severity != "error"),
            rules=checked.rules,
            macros=checked.macros,
            lists=builder.lists,
            required_plugins=tuple(self._collection.plugins),
            redefinitions=tuple(
                Redefinition(new.type, new.name, head_location(new), head_location(old))
                for new, old in self._collection.redefined
            ),
            indicators=dict(self._collection.indicators),
            enrichments=tuple(self._collection.enrichments),
            actions=tuple(self._collection.actions.values()),
        ).with_problems(late)

    def _read(self, file: RuleFile) -> None:
        name = file.name
        if file.unreadable:
            hint = "check that it exists and is readable"
            self._fail(
                ProblemCode.LOAD_ERR_FILE_READ,
                f"Could not read the file: {file.unreadable}",
                SourceLocation(name),
                hint,
            )
            return
        text = file.text
        if isinstance(text, bytes):
            data = text.removeprefix(codecs.BOM_UTF8)
            try:
                text = data.decode()
            except UnicodeDecodeError as error:
                before = SourceFile(name, data[: error.start].decode())
                location = before.locate(len(before.text), len(before.text) + 1)
                message = f"the file is not UTF-8: byte 0x{data[error.start]:02x}"
                self._fail(ProblemCode.LOAD_ERR_YAML_PARSE, message, location, "save it as UTF-8")
                return
        read_file(SourceFile(name, text), self._collection, self._problems.append)

    def _fail(self, code: ProblemCode, message: str, location: SourceLocation, hint: str) -> None:
        self._problems.append(Problem(code, message, "rules content", "", location, hint))

    def _finish(self, name: str) -> None:
        order = sorted(dict.fromkeys(self._problems), key=_order)
        self._problems.clear()
        errors = tuple(problem for problem in order if problem.code.severity == "error")
        warnings = tuple(problem for problem in order if problem.code.severity != "error")
        self._results.append(FileResult(name, errors, warnings))


def _order(problem: Problem) -> tuple[str, int, int]:
    return (problem.location.file, problem.location.line, problem.location.column)
