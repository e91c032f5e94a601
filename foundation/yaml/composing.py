"""Composes YAML trees from the events of PyYAML's parsers."""

from typing import Any

import yaml

from foundation.yaml.nodes import (
    Limits,
    MappingNode,
    Node,
    OverLimits,
    ScalarNode,
    SequenceNode,
    SourceFile,
    SourceLocation,
    YamlError,
)

_FASTEST: type[Any] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def compose(file: SourceFile, limits: Limits, *, is_precise: bool) -> list[Node]:
    """Return all documents of a file; the arguments are those of `read_documents`. Raises YamlError."""
    try:
        return _Composer(file, limits).documents(yaml.SafeLoader if is_precise else _FASTEST)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        words = [part for part in (error.context, error.problem) if part]
        location = file.locate(_at(mark), _at(mark) + 1) if mark else SourceLocation(file.name)
        raise YamlError(", ".join(words), location, words[-1], _hint(error, file)) from None
    except yaml.reader.ReaderError as error:
        message = f"{error.reason}: character #x{_code(error.character):04x}"
        raise YamlError(message, file.locate(error.position, error.position + 1)) from None
    except yaml.YAMLError as error:
        raise YamlError(str(error), SourceLocation(file.name)) from None


def _hint(error: yaml.MarkedYAMLError, file: SourceFile) -> str:
    """Return what to do about the most common mistakes."""
    problem, context = error.problem or "", error.context or ""
    at = _at(error.problem_mark) if error.problem_mark else len(file.text)
    if "tab" in problem or file.text[at : at + 1] == "\t":
        return "indent with spaces instead of tabs"
    if "mapping values are not allowed" in problem:
        before = file.text[file.text.rfind("\n", 0, at) + 1 : at].strip()
        same = "keys of one item begin in the same column"
        return "a text that contains ': ' needs quotation marks around it" if ":" in before else same
    if "cannot start any token" in problem:
        return f"a text that begins with '{file.text[at : at + 1]}' needs quotation marks around it"
    if "quoted scalar" in context and error.context_mark:
        opened = file.locate(_at(error.context_mark), _at(error.context_mark) + 1)
        return f"the quotation mark in line {opened.line}, column {opened.column} is not closed: {opened.text.strip()}"
    if ("flow sequence" in context or "flow mapping" in context) and error.context_mark:
        opened = file.locate(_at(error.context_mark), _at(error.context_mark) + 1)
        mark = file.text[_at(error.context_mark)]
        return (
            f"the '{mark}' in line {opened.line}, column {opened.column} is not closed, or a comma is missing after it"
        )
    if "could not find expected ':'" in problem:
        return "indent the lines of a text, or put it in quotation marks"
    if "did not find expected key" in problem:
        return "keys of one item begin in the same column"
    return ""


def _code(character: object) -> int:
    if isinstance(character, int):
        return character
    return ord(character) if isinstance(character, str) and len(character) == 1 else 0


def _at(mark: Any) -> int:
    return int(mark.index)


class _Open:
    """A collection that is not complete yet."""

    __slots__ = ("anchor", "children", "is_mapping", "start", "weight")

    def __init__(self, event: yaml.CollectionStartEvent) -> None:
        self.anchor = event.anchor
        self.children: list[Node] = []
        self.is_mapping = isinstance(event, yaml.MappingStartEvent)
        self.start = _at(event.start_mark)
        self.weight = 1


class _Composer:
    """Builds the tree from the parser's events without recursion, so that depth needs no stack."""

    def __init__(self, file: SourceFile, limits: Limits) -> None:
        self._file = file
        self._limits = limits
        self._anchors: dict[str, tuple[Node, int]] = {}
        self._open: list[_Open] = []
        self._documents: list[Node] = []
        self._weight = 0

    def documents(self, loader: type[Any]) -> list[Node]:
        for event in yaml.parse(self._file.text, Loader=loader):
            if isinstance(event, yaml.ScalarEvent):
                self._add(self._scalar(event), 1, event.anchor, event)
            elif isinstance(event, yaml.AliasEvent):
                self._alias(event)
            elif isinstance(event, yaml.CollectionStartEvent):
                self._open.append(_Open(event))
                if len(self._open) > self._limits.depth:
                    raise OverLimits(f"nested deeper than {self._limits.depth} levels", self._location(event))
            elif isinstance(event, yaml.CollectionEndEvent):
                self._close(event)
            elif isinstance(event, yaml.DocumentStartEvent):
                self._anchors.clear()
        return self._documents

    def _scalar(self, event: yaml.ScalarEvent) -> ScalarNode:
        start, end = _at(event.start_mark), _at(event.end_mark)
        value = event.value
        style = event.style or ""
        if event.tag is not None and event.tag.startswith("!") and not style:
            # A tag is text in a rule: `!=` is an operator.
            value = self._file.text[start:end].strip()
        return ScalarNode(self._file, start, end, value, style)

    def _alias(self, event: yaml.AliasEvent) -> None:
        known = self._anchors.get(event.anchor or "")
        if known is None:
            raise YamlError(f"the alias *{event.anchor} has no anchor before it", self._location(event))
        self._add(*known, None, event)

    def _close(self, event: yaml.CollectionEndEvent) -> None:
        done = self._open.pop()
        children, end = done.children, _at(event.end_mark)
        node: Node
        if done.is_mapping:
            node = MappingNode(self._file, done.start, end, tuple(zip(children[::2], children[1::2], strict=True)))
        else:
            node = SequenceNode(self._file, done.start, end, tuple(children))
        self._add(node, done.weight, done.anchor, event)

    def _add(self, node: Node, weight: int, anchor: str | None, event: yaml.Event) -> None:
        if anchor:
            self._anchors[anchor] = (node, weight)
        self._weight += 1
        if self._open:
            self._open[-1].children.append(node)
            self._open[-1].weight += weight
            weight = self._open[-1].weight
        else:
            self._documents.append(node)
        if max(weight, self._weight) > self._limits.nodes:
            message = f"more than {self._limits.nodes:,} nodes, with aliases expanded"
            raise OverLimits(message, self._location(event))

    def _location(self, event: yaml.Event) -> SourceLocation:
        return self._file.locate(_at(event.start_mark), _at(event.start_mark) + 1)
