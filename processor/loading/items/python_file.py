"""Python rule files: the decorated functions of a file become rule items, and functions that enrich alerts.

The file is parsed and never run: arguments of decorators are literals, so that rules can be listed, checked, published
and compared without running anybody's code. An item is the same tree that YAML gives, so the reader of rules reads it,
and problems are located in the file.
"""

import ast
import re
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

from foundation.errors import LannerError
from foundation.text import did_you_mean
from foundation.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode, SourceFile
from foundation.yaml.reading import read_documents
from foundation.yaml.text import PYTHON
from processor.loading.problems import Problem, ProblemCode
from processor.loading.rules import Switch
from processor.python.api import MODULES, PUBLIC
from processor.rule import Enrichment, LoadedMacro, PythonFunction, Rule, correlations_of
from processor.splitting import stateful_names

SUFFIX = ".py"
MAX_CHARACTERS = 200_000
KEYS = (
    *("rule", "desc", "condition", "output", "priority", "source", "enabled", "tags", "exceptions", "response"),
    "fields",
)
"""The arguments of `detect`; all but the last are keys of rules."""
OWN_KEYS = ("fields", "function")
"""Keys of a rule item of a Python file that rules in YAML don't have."""
_REQUIRED = {
    "rule": "rule='NAME'",
    "condition": "condition='...'",
    "output": "output='...'",
    "priority": "priority='Warning'",
}
_PACKAGES = frozenset(name.partition(".")[0] for name in MODULES)
_CONTENT = "python file"
_LONE_RETURN = re.compile(r"\r(?!\n)")
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class PythonFile:
    """What a file declares."""

    items: tuple[MappingNode, ...]
    """Rule items; each has the name of its function beside the keys of rules."""
    enrichments: tuple[Enrichment, ...]


class _Wrong(LannerError):
    """A part of the file is wrong."""

    def __init__(self, node: ast.AST, message: str, hint: str, name: str = "") -> None:
        super().__init__(message)
        self.node, self.message, self.hint, self.name = node, message, hint, name


def is_python(name: str) -> bool:
    """Return whether a rule file is Python by its name."""
    return name.endswith(SUFFIX)


def read_python(file: SourceFile, report: Callable[[Problem], None]) -> PythonFile:
    """Return what a Python rule file declares, and report problems; an item with one is left out."""
    return _Reader(file, report).read()


def documents_of(file: SourceFile) -> list[Node]:
    """Return the documents of a rule file, in YAML or Python, without items that are wrong. Raises YamlError."""
    if not is_python(file.name):
        return read_documents(file)
    return [SequenceNode(file, 0, 0, read_python(file, lambda _: None).items)]


class _Reader:
    def __init__(self, file: SourceFile, report: Callable[[Problem], None]) -> None:
        self._file = file
        self._report = report
        self._starts: list[int] = []
        self._lines: list[str] = []

    def read(self) -> PythonFile:
        if len(self._file.text) > MAX_CHARACTERS:
            what = f"the file has {len(self._file.text):,} characters; the limit is {MAX_CHARACTERS:,}"
            self._fail(0, 0, what, "split it")
            return PythonFile((), ())
        if (found := _LONE_RETURN.search(self._file.text)) is not None:
            self._fail(*found.span(), "a line ends with a carriage return alone", "save it with other line ends")
            return PythonFile((), ())
        for line in self._file.text.split("\n"):
            self._starts.append(self._starts[-1] + len(self._lines[-1]) + 1 if self._lines else 0)
            self._lines.append(line)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                tree = ast.parse(self._file.text)
        except SyntaxError as error:
            at = self._starts[min(error.lineno or 1, len(self._starts)) - 1] + max((error.offset or 1) - 1, 0)
            self._fail(at, at + 1, f"Python syntax error: {error.msg}", "no rule of this file is loaded")
            return PythonFile((), ())
        except (ValueError, RecursionError, MemoryError) as error:
            self._fail(0, 0, f"it can't be parsed: {error or type(error).__name__}", "no rule of this file is loaded")
            return PythonFile((), ())
        for node in ast.walk(tree):
            self._tried(partial(self._check_import, node))
        items: list[MappingNode] = []
        enrichments: list[Enrichment] = []
        for function in tree.body:
            for decorator in getattr(function, "decorator_list", ()):
                kind = _name(decorator.func if isinstance(decorator, ast.Call) else decorator)
                if kind == "detect":
                    items += self._tried(partial(self._rule, function, decorator))
                elif kind == "enrich":
                    enrichments += self._tried(partial(self._enrichment, function, decorator))
        return PythonFile(tuple(items), tuple(enrichments))

    def _tried(self, read: Callable[[], T]) -> list[T]:
        try:
            return [read()]
        except _Wrong as wrong:
            start, end = self._span(wrong.node)
            self._fail(start, end, wrong.message, wrong.hint, wrong.name)
            return []

    def _check_import(self, node: ast.AST) -> None:
        names = [each.name for each in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom):
            names = ["." * node.level + (node.module or "")]
        for name in names:
            if name not in (*MODULES, *_PACKAGES, PUBLIC):
                hint = (
                    did_you_mean(name, (*MODULES, PUBLIC))
                    or f"import {PUBLIC}, or modules that only compute, such as re and math"
                )
                raise _Wrong(node, f"module {name!r} can't be imported by a rule file", hint)

    def _rule(self, function: ast.stmt, decorator: ast.expr) -> MappingNode:
        values = self._keywords("detect", function, decorator, KEYS)
        named = values.get("rule")
        name = str(named.value) if isinstance(named, ast.Constant) else ""
        for key, example in _REQUIRED.items():
            if key not in values:
                raise _Wrong(decorator, f"@detect has no {key}", f"add {example}", name)
        assert isinstance(function, ast.FunctionDef)  # noqa: S101  checked with the keywords
        pairs: list[tuple[Node, Node]] = [self._pair(key, values[key]) for key in ("rule", *values.keys() - {"rule"})]
        if "desc" not in values:
            described = function.body[0].value if isinstance(function.body[0], ast.Expr) else None
            if not isinstance(described, ast.Constant) or not isinstance(described.value, str):
                raise _Wrong(decorator, "@detect has no desc", "add desc='...', or a docstring to the function", name)
            pairs.append(self._pair("desc", described))
        pairs.append((self._scalar(function, "function"), self._scalar(function, function.name)))
        start, end = self._span(decorator)
        return MappingNode(self._file, start, end, tuple(pairs))

    def _enrichment(self, function: ast.stmt, decorator: ast.expr) -> Enrichment:
        values = self._keywords("enrich", function, decorator, ("rules",))
        assert isinstance(function, ast.FunctionDef)  # noqa: S101
        rules = values.get("rules")
        if not isinstance(rules, ast.List | ast.Tuple) or not rules.elts:
            raise _Wrong(rules or decorator, "@enrich has no list of rules", "write rules=['NAME', ...]")
        names = []
        for each in rules.elts:
            if not isinstance(each, ast.Constant) or not isinstance(each.value, str):
                raise _Wrong(each, "the name of a rule is a text", "write rules=['NAME', ...]")
            names.append((each.value, self._file.locate(*self._span(each))))
        code = PythonFunction(self._file.name, self._file.text, function.name, ())
        return Enrichment(code, tuple(names))

    def _keywords(
        self, kind: str, function: ast.stmt, decorator: ast.expr, known: Sequence[str]
    ) -> dict[str, ast.expr]:
        if not isinstance(function, ast.FunctionDef):
            raise _Wrong(function, f"@{kind} is for a function", "write 'def NAME(event):' below it")
        if not isinstance(decorator, ast.Call):
            raise _Wrong(decorator, f"@{kind} has no arguments", f"write @{kind}({known[0]}=...)")
        values: dict[str, ast.expr] = {}
        for argument in decorator.args:
            raise _Wrong(argument, f"@{kind} has an argument without a name", f"write {known[0]}=...")
        for keyword in decorator.keywords:
            if keyword.arg is None or keyword.arg not in known:
                hint = did_you_mean(keyword.arg or "", known) or f"it has {', '.join(known)}"
                raise _Wrong(keyword, f"@{kind} has no argument {keyword.arg or '**'}", hint)
            values[keyword.arg] = keyword.value
        given = function.args
        if len(given.posonlyargs + given.args) != 1 or given.kwonlyargs or given.vararg or given.kwarg:
            raise _Wrong(
                given if given.args else function,
                f"{function.name}() must take the event alone",
                f"write 'def {function.name}(event):'",
            )
        return values

    def _pair(self, key: str, value: ast.expr) -> tuple[Node, Node]:
        return self._scalar(value, key), self._node(value, key)

    def _node(self, value: ast.AST, key: str) -> Node:
        """Return a literal as a node of YAML."""
        start, end = self._span(value)
        if isinstance(value, ast.Constant) and isinstance(value.value, str | int | float | None):
            text = "" if value.value is None else str(value.value)
            return ScalarNode(self._file, start, end, text, PYTHON if isinstance(value.value, str) else "")
        if isinstance(value, ast.List | ast.Tuple | ast.Set):
            return SequenceNode(self._file, start, end, tuple(self._node(each, key) for each in value.elts))
        if isinstance(value, ast.Dict):
            # A key that is missing stands for `**value`.
            pairs = tuple((name or value, each) for name, each in zip(value.keys, value.values, strict=True))
            items = tuple((self._key(name, key), self._node(each, key)) for name, each in pairs)
            return MappingNode(self._file, start, end, items)
        raise _Wrong(
            value, f"{key} is not a literal", "write the value itself: the file is read, not run, to list its rules"
        )

    def _key(self, value: ast.AST, key: str) -> Node:
        if not isinstance(value, ast.Constant):
            raise _Wrong(value, f"a key of {key} is not a text", "write it in quotes")
        return self._node(value, key)

    def _scalar(self, place: ast.AST, text: str) -> ScalarNode:
        return ScalarNode(self._file, *self._span(place), text)

    def _span(self, node: ast.AST) -> tuple[int, int]:
        if isinstance(node, ast.arguments):
            node = node.args[-1]
        if isinstance(node, ast.FunctionDef | ast.ClassDef | ast.AsyncFunctionDef):
            start = self._offset(node.lineno, node.col_offset)
            return start, start + len(self._lines[node.lineno - 1].strip())
        if not isinstance(node, ast.expr | ast.stmt | ast.keyword | ast.arg):
            return 0, 0
        end = self._offset(node.end_lineno or node.lineno, node.end_col_offset or 0)
        return self._offset(node.lineno, node.col_offset), end

    def _offset(self, line: int, column: int) -> int:
        """Return the offset in the text of a place of the tree, whose columns are bytes."""
        before = self._lines[line - 1].encode()[:column]
        return self._starts[line - 1] + len(before.decode("utf-8", "replace"))

    def _fail(self, start: int, end: int, message: str, hint: str, name: str = "") -> None:
        location = self._file.locate(start, end)
        kind = "rule" if name else _CONTENT
        self._report(Problem(ProblemCode.LOAD_ERR_EXTENSION, message, kind, name, location, hint))


def _name(node: ast.AST) -> str:
    return node.id if isinstance(node, ast.Name) else node.attr if isinstance(node, ast.Attribute) else ""


def python_problems(
    rules: Sequence[Rule], macros: Mapping[str, LoadedMacro], enrichments: Sequence[Enrichment]
) -> Iterator[Problem]:
    """Yield what is wrong with functions beside their files: they decide about single events, outside of windows."""
    correlations = correlations_of(macros)
    stateful = {
        rule.name for rule in rules if rule.suppress is not None or stateful_names(rule.condition, correlations)
    }
    code = ProblemCode.LOAD_ERR_EXTENSION
    for rule in rules:
        if rule.python is not None and rule.name in stateful:
            message = "the condition of a Python rule can't use stateful macros, nor 'suppress'"
            hint = "keep the state in the function"
            yield Problem(code, message, "rule", rule.name, rule.location, hint)
    for pattern, location in (each for enrichment in enrichments for each in enrichment.rules):
        switch = Switch(enable=True, by="rule", pattern=pattern)
        found = [rule.name for rule in rules if switch.matches(rule)]
        if not found:
            hint = did_you_mean(pattern, [rule.name for rule in rules]) or "`lanner rules list` lists the rules"
            yield Problem(code, f"@enrich names no rule: {pattern!r}", _CONTENT, "", location, hint)
        elif stateful.issuperset(found):
            message = f"rule {found[0]!r} counts in windows; functions enrich alerts about single events"
            yield Problem(code, message, _CONTENT, "", location, "name other rules")
