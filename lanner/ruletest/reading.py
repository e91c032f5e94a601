"""Parses test files: takes text, returns cases and problems with their locations."""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from types import MappingProxyType
from typing import Any, TypeVar

from foundation.text import did_you_mean
from foundation.yaml import mappings
from foundation.yaml.mappings import BadMapping, Key, MappingReader
from foundation.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode, SourceFile, YamlError
from foundation.yaml.reading import read_documents
from lanner.errors import BadInput
from lanner.ruleset.active import on_top
from lanner.ruleset.load import changed_rules, with_shipped_hints
from lanner.ruletest.events.events import read_event
from lanner.ruletest.model import Case, Expected, StatedDocument, StatedEvent, Suite
from lanner.ruletest.running import RuleSet, unknown_names
from processor.loading import (
    LoadResult,
    Problem,
    ProblemCode,
    Rule,
    RuleFile,
    indicator_problems,
    load_rules,
    read_rule_files,
)
from processor.loading.items.python_file import SUFFIX as PYTHON_SUFFIX
from processor.loading.items.python_file import is_python
from schemas.catalog.priorities import BY_NAME, parse_priority


def read_values(text: str) -> list[Any]:
    """Read YAML as JSON's values, each document or the items of each list. Raises YamlError."""
    documents = read_documents(SourceFile("the event", text))
    return [_value(item) for document in documents for item in _items(document)]


def _read_document(node: Node) -> StatedDocument:
    """Read an event that is JSON. Raises BadMapping."""
    table = MappingReader(node, "an event")
    at = table.value(mappings.duration, 0, "at")
    source = mappings.text(table.need("source", "an event of JSON has a source", "add 'source: github'"), "source")
    document = table.need("json", "an event of JSON has a document", "add 'json: {...}'")
    if not isinstance(document, MappingNode):
        raise BadMapping("'json' takes a mapping", document)
    table.refuse_unknown()
    return StatedDocument(at, source, _value(document))


def _value(node: Node) -> Any:
    """Return what JSON of the same text would be; text needs no quotation marks."""
    if isinstance(node, SequenceNode):
        return [_value(item) for item in node.items]
    if isinstance(node, MappingNode):
        return {name: _value(value) for name, value in MappingReader(node, "an object").pairs().items()}
    return _scalar(node)


def _scalar(node: ScalarNode) -> Any:
    if node.is_null:
        return None
    if node.style:
        return node.value
    try:
        return json.loads(node.value, parse_constant=str)
    except ValueError:
        return node.value


T = TypeVar("T")
_SUFFIX = "_test"
_MAX_EVENTS = 10_000


def rule_file_of(test_file: str) -> str:
    """Return the rule file beside a test file: name_test.yaml tests name.yaml, or name.py if only that exists."""
    path = PurePosixPath(test_file)
    found = path.with_name(path.stem.removesuffix(_SUFFIX) + path.suffix)
    python = found.with_suffix(PYTHON_SUFFIX)
    return str(python if Path(python).is_file() and not Path(found).is_file() else found)


def test_file_of(rule_file: str) -> str:
    """Return the test file beside a rule file."""
    path = PurePosixPath(rule_file)
    return str(path.with_name(f"{path.stem}{_SUFFIX}{'.yaml' if is_python(rule_file) else path.suffix}"))


def is_test_file(name: str) -> bool:
    """Return whether a file is a test file, by its name."""
    return PurePosixPath(name).stem.endswith(_SUFFIX)


def read_suite(name: str, text: str) -> tuple[Suite, tuple[Problem, ...]]:
    """Parse a test file; return what could be parsed, and all problems with the rest.

    name: for problems; relative paths in the file start from its folder.
    """
    return _Reader(SourceFile(name, text)).suite()


def read_events(name: str, text: str) -> tuple[tuple[StatedEvent, ...], tuple[Problem, ...]]:
    """Parse events alone, one or a list of them, in the syntax of a case."""
    reader = _Reader(SourceFile(name, text))
    documents = reader.documents()
    nodes = [node for document in documents for node in _items(document)]
    events = reader.each(nodes, read_event, "event", "")
    return tuple(events), tuple(reader.problems)


def _items(node: Node) -> Sequence[Node]:
    return node.items if isinstance(node, SequenceNode) else (node,)


class _Reader:
    def __init__(self, file: SourceFile) -> None:
        self._file = file
        self.problems: list[Problem] = []

    def documents(self) -> list[Node]:
        """Parse the text as YAML; return nothing if it is invalid."""
        try:
            return read_documents(self._file)
        except YamlError as error:
            code = ProblemCode.LOAD_ERR_YAML_PARSE
            self.problems.append(Problem(code, error.message, "test file", "", error.location))
            return []

    def suite(self) -> tuple[Suite, tuple[Problem, ...]]:
        """Parse the whole file."""
        name = self._file.name
        rules: tuple[str, ...] = (rule_file_of(name),)
        matching: str | None = None
        nodes: list[Node] = []
        for document in self.documents():
            if isinstance(document, SequenceNode):
                nodes += document.items
                continue
            try:
                table = MappingReader(document, "a test file")
                if (named := table.value(mappings.texts, None, "rules")) is not None:
                    rules = tuple(str(PurePosixPath(name).parent / each) for each in named)
                matching = table.value(_matching, matching, "rule_matching")
                table.get("shared")
                cases = table.need("cases", "a test file has cases", "add 'cases:' and a list below it")
                nodes += _items(cases)
                for wrong in table.unknown():
                    self._add_problem(wrong, "test file", "")
            except BadMapping as wrong:
                self._add_problem(wrong, "test file", "")
        cases_read = [case for node in nodes if (case := self._case(node)) is not None]
        return Suite(name, rules, matching, tuple(cases_read)), tuple(self.problems)

    def _case(self, node: Node) -> Case | None:
        before = len(self.problems)
        name = ""
        try:
            table = MappingReader(node, "a case")
            name_node = table.need("name", "a case has a name", "add 'name: what happens'")
            name = mappings.text(name_node, "name")
            given, recording = table.get("given"), table.value(mappings.text, None, "recording")
            events = self._events(table, given, recording, name)
            expected = self._expected(table, name)
            about = table.value(mappings.texts, (), "about")
            names = table.value(mappings.pairs(mappings.texts), {}, "names")
            source = table.value(mappings.text, "", "source")
            for wrong in table.unknown():
                self._add_problem(wrong, "case", name)
        except BadMapping as wrong:
            self._add_problem(wrong, "case", name)
            return None
        if len(self.problems) > before:
            return None
        if recording is not None:
            recording = str(PurePosixPath(self._file.name).parent / recording)
        return Case(name, tuple(events), recording, tuple(expected), about, names, name_node.location, source)

    def _events(
        self, table: MappingReader, given: Node | None, recording: str | None, name: str
    ) -> Iterable[StatedEvent | StatedDocument]:
        if (given is None) == (recording is None):
            raise BadMapping("a case has events", table.node, "add 'given:' and a list of events, or 'recording: FILE'")
        if given is None:
            return ()
        items = _items(given)
        if len(items) > _MAX_EVENTS:
            raise BadMapping(f"more than {_MAX_EVENTS} events", given, "use a recording")
        return self.each(items, _read_event, "event", name)

    def _expected(self, table: MappingReader, name: str) -> Iterable[Expected]:
        add = "add 'expect: none', or 'expect:' and a list of rules"
        node = table.need("expect", "a case states what to expect", add)
        if isinstance(node, ScalarNode) and node.value == "none":
            return ()
        return self.each(_items(node), self._one_expected, "case", name)

    def _one_expected(self, node: Node) -> Expected:
        if isinstance(node, ScalarNode):
            return Expected(mappings.text(node, "expect"), node.location)
        table = MappingReader(node, "an expected alert")
        rule = table.need("rule", "an expected alert names its rule", "add 'rule: NAME'")
        given = table.values(_EXPECTED)
        table.refuse_unknown()
        return Expected(**given, location=rule.location)

    def each(self, nodes: Sequence[Node], read: Callable[[Node], T], kind: str, name: str) -> list[T]:
        """Read nodes one by one; an error in one doesn't hide those in others."""
        found: list[T] = []
        for node in nodes:
            try:
                found.append(read(node))
            except BadMapping as wrong:
                self._add_problem(wrong, kind, name)
        return found

    def _add_problem(self, wrong: BadMapping, kind: str, name: str) -> None:
        node = wrong.node
        if isinstance(node, MappingNode) and node.pairs:
            node = node.pairs[0][0]
        code = ProblemCode.LOAD_ERR_VALIDATE
        self.problems.append(Problem(code, wrong.message, kind, name, node.location, wrong.hint))


def _read_event(node: Node) -> StatedEvent | StatedDocument:
    states_source = isinstance(node, MappingNode) and node.get("source") is not None
    return _read_document(node) if states_source else read_event(node)


def _matching(node: Node, key: str) -> str:
    text = mappings.text(node, key)
    if text not in ("first", "all"):
        raise BadMapping(f"'{key}' takes first or all", node)
    return text


def _priority(node: Node, key: str) -> str:
    text = mappings.text(node, key)
    priority = parse_priority(text)
    if priority is None:
        raise BadMapping(f"unknown priority '{text}'", node, did_you_mean(text.lower(), BY_NAME))
    return str(priority)


def _field(node: Node, key: str) -> str:
    if not isinstance(node, ScalarNode):
        raise BadMapping(f"'{key}' takes one text, or null for a missing value", node)
    return "<NA>" if node.is_null else node.value


_EXPECTED = (
    Key("rule", mappings.text),
    Key("priority", _priority),
    Key("output_fields", mappings.pairs(_field)),
    Key("repeats", mappings.small()),
)


_SUFFIXES = (".yaml", ".yml", PYTHON_SUFFIX)


@dataclass(frozen=True, slots=True)
class TestedRules:
    """A test file and its rules, without errors."""

    suite: Suite
    rules: RuleSet
    own: frozenset[str]
    """The rules that the tested file defines or changes."""


@dataclass(frozen=True, slots=True)
class TestFiles:
    """The result of a search."""

    tested: tuple[TestedRules, ...]
    untested: tuple[tuple[str, tuple[Rule, ...]], ...]
    """Rule files without a test file, with their rules."""
    problems: tuple[Problem, ...]


def find_tests(
    paths: Sequence[str],
    rules: Sequence[str],
    below: Sequence[RuleFile] = (),
    loaded: Mapping[tuple[str, ...], LoadResult] = MappingProxyType({}),
) -> TestFiles:
    """Find and read test files: those at paths, beside rule files, and in folders. Raises BadInput for a missing path.

    Args:
        paths: files and folders.
        rules: rule files to test instead of those that the test files name.
        below: files that are loaded before the rule file beside a test file; their rules are evaluated only if it
            changes them, if a macro of it is about them, or if a case names them.
        loaded: files that were loaded with none below them, by their names in load order.
    """
    problems: list[Problem] = []
    tested: list[TestedRules] = []
    untested: list[tuple[str, tuple[Rule, ...]]] = []
    known = dict(loaded)

    def load(names: tuple[str, ...], on: Sequence[RuleFile] = ()) -> LoadResult:
        if names not in known:
            found = load_rules(on_top(on, read_rule_files(names)))
            known[names] = found.with_problems(indicator_problems(found))
            problems.extend(with_shipped_hints(known[names].errors))
        return known[names]

    for file in dict.fromkeys(_files(paths)):
        if not is_test_file(file):
            own = changed_rules(read_rule_files((file,)))
            untested.append((file, tuple(rule for rule in load((file,), below).rules if rule.name in own)))
            continue
        suite, wrong = read_suite(file, _read(file))
        problems.extend(wrong)
        beside = (rule_file_of(file),)
        is_alone = bool(rules) or suite.rules != beside
        result = load(tuple(rules) or suite.rules, () if is_alone else below)
        if result.ok:
            problems.extend(unknown_names(suite, result.rules))
        named = beside if beside[0] in suite.rules else tuple(each for each in suite.rules if not Path(each).is_dir())
        own = changed_rules(read_rule_files(named))
        evaluated = result.rules
        if not is_alone:
            about = _evaluated(suite, result, own)
            evaluated = tuple(rule for rule in evaluated if rule.name in about)
        tested.append(TestedRules(suite, RuleSet(evaluated, result.macros, result.enrichments), own))
    return TestFiles(tuple(tested), tuple(untested), tuple(dict.fromkeys(problems)))


def _evaluated(suite: Suite, result: LoadResult, own: frozenset[str]) -> set[str]:
    """Return the rules that the file beside a test file is about."""
    named = {name for case in suite.cases for name in (*case.about, *(each.rule for each in case.expected))}
    mine = {rule_file_of(suite.file)}
    about = (macro.correlation for macro in result.macros.values() if macro.location.file in mine)
    legs = (each.legs for each in about if each is not None and each.is_over_rules)
    return named.union(own, *legs)


def _files(paths: Sequence[str]) -> Iterable[str]:
    """Yield test files, and rule files without one."""
    for given in paths:
        path = Path(given)
        if path.is_dir():
            members = sorted(str(each) for each in path.iterdir() if each.suffix in _SUFFIXES and each.is_file())
            yield from (_its_test(each) for each in members if not (is_python(each) and is_test_file(each)))
        elif path.exists():
            yield _its_test(given)
        else:
            hint = f" It would hold the tests of {rule_file_of(given)}." if is_test_file(given) else ""
            raise BadInput(f"{given}: no such file or folder.{hint}")


def _its_test(file: str) -> str:
    """Return the test file of a rule file, or the rule file itself if there is none."""
    if is_test_file(file):
        return file
    beside = test_file_of(file)
    return beside if Path(beside).is_file() else file


def _read(file: str) -> str:
    try:
        return Path(file).read_bytes().decode("utf-8")
    except OSError as error:
        raise BadInput(f"{file}: can't be read: {error.strerror}.") from None
    except UnicodeDecodeError as error:
        raise BadInput(f"{file}: not UTF-8 at byte {error.start}; save it as UTF-8.") from None
