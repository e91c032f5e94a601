"""Parses test files: takes text, returns cases and problems with their locations."""

from collections.abc import Callable, Iterable, Sequence
from pathlib import PurePosixPath
from typing import TypeVar

from lanner.ruletest import values
from lanner.ruletest.events.documents import is_document, read_document
from lanner.ruletest.events.events import read_event
from lanner.ruletest.model import Case, Expected, StatedDocument, StatedEvent, Suite
from lanner.ruletest.values import Key, MappingReader, TestFileError
from processor.loading import Problem, ProblemCode
from processor.loading.problems.hints import did_you_mean
from schemas.catalogue.priorities import BY_NAME, parse_priority
from schemas.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode
from schemas.yaml.reading import YamlError, read_documents
from schemas.yaml.source import SourceFile

T = TypeVar("T")
_SUFFIX = "_test"
_MAX_EVENTS = 10_000


def rule_file_of(test_file: str) -> str:
    """Return the rule file beside a test file: name_test.yaml tests name.yaml."""
    path = PurePosixPath(test_file)
    return str(path.with_name(path.stem.removesuffix(_SUFFIX) + path.suffix))


def test_file_of(rule_file: str) -> str:
    """Return the test file beside a rule file."""
    path = PurePosixPath(rule_file)
    return str(path.with_name(f"{path.stem}{_SUFFIX}{path.suffix}"))


def is_test_file(name: str) -> bool:
    """Return whether a file is a test file, by its name."""
    return PurePosixPath(name).stem.endswith(_SUFFIX)


def read_suite(name: str, text: str) -> tuple[Suite, tuple[Problem, ...]]:
    """Parse a test file.

    Args:
        name: for problems; relative paths in the file start from its folder.
        text: its text.

    Returns:
        What could be parsed, and all problems with the rest.
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
                if (named := table.value(values.texts, None, "rules")) is not None:
                    rules = tuple(str(PurePosixPath(name).parent / each) for each in named)
                matching = table.value(_matching, matching, "rule_matching")
                table.get("shared")
                cases = table.need("cases", "a test file has cases", "add 'cases:' and a list below it")
                nodes += _items(cases)
                for wrong in table.unknown():
                    self._add_problem(wrong, "test file", "")
            except TestFileError as wrong:
                self._add_problem(wrong, "test file", "")
        cases_read = [case for node in nodes if (case := self._case(node)) is not None]
        return Suite(name, rules, matching, tuple(cases_read)), tuple(self.problems)

    def _case(self, node: Node) -> Case | None:
        before = len(self.problems)
        name = ""
        try:
            table = MappingReader(node, "a case")
            name_node = table.need("name", "a case has a name", "add 'name: what happens'")
            name = values.text(name_node, "name")
            given, recording = table.get("given"), table.value(values.text, None, "recording")
            events = self._events(table, given, recording, name)
            expected = self._expected(table, name)
            about = table.value(values.texts, (), "about")
            names = table.value(values.pairs(values.texts), {}, "names")
            source = table.value(values.text, "", "source")
            for wrong in table.unknown():
                self._add_problem(wrong, "case", name)
        except TestFileError as wrong:
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
            raise TestFileError(
                "a case has events", table.node, "add 'given:' and a list of events, or 'recording: FILE'"
            )
        if given is None:
            return ()
        items = _items(given)
        if len(items) > _MAX_EVENTS:
            raise TestFileError(f"more than {_MAX_EVENTS} events", given, "use a recording")
        return self.each(items, _read_event, "event", name)

    def _expected(self, table: MappingReader, name: str) -> Iterable[Expected]:
        add = "add 'expect: none', or 'expect:' and a list of rules"
        node = table.need("expect", "a case states what to expect", add)
        if isinstance(node, ScalarNode) and node.value == "none":
            return ()
        return self.each(_items(node), self._one_expected, "case", name)

    def _one_expected(self, node: Node) -> Expected:
        if isinstance(node, ScalarNode):
            return Expected(values.text(node, "expect"), node.location)
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
            except TestFileError as wrong:
                self._add_problem(wrong, kind, name)
        return found

    def _add_problem(self, wrong: TestFileError, kind: str, name: str) -> None:
        node = wrong.node
        if isinstance(node, MappingNode) and node.pairs:
            node = node.pairs[0][0]
        code = ProblemCode.LOAD_ERR_VALIDATE
        self.problems.append(Problem(code, wrong.message, kind, name, node.location, wrong.hint))


def _read_event(node: Node) -> StatedEvent | StatedDocument:
    return read_document(node) if is_document(node) else read_event(node)


def _matching(node: Node, key: str) -> str:
    text = values.text(node, key)
    if text not in ("first", "all"):
        raise TestFileError(f"'{key}' takes first or all", node)
    return text


def _priority(node: Node, key: str) -> str:
    text = values.text(node, key)
    priority = parse_priority(text)
    if priority is None:
        raise TestFileError(f"unknown priority '{text}'", node, did_you_mean(text.lower(), BY_NAME))
    return str(priority)


def _field(node: Node, key: str) -> str:
    if not isinstance(node, ScalarNode):
        raise TestFileError(f"'{key}' takes one text, or null for a missing value", node)
    return "<NA>" if node.is_null else node.value


_EXPECTED = (
    Key("rule", values.text),
    Key("priority", _priority),
    Key("output_fields", values.pairs(_field)),
    Key("repeats", values.small()),
)
