"""A YAML tree that retains positions, with every scalar as the text that was written.

Values in rule files are text: `22`, `yes`, `12:30:00` and `=` are not converted to numbers, booleans or
times. Rule files are untrusted: their size, depth and alias expansion are bounded.
"""

from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, TypeAlias

import yaml

from processor.loading.problems.model import SourceLocation
from schemas.errors import LannerError

MAX_BYTES = 8_000_000
MAX_NODES = 500_000
"""The limit of nodes per file; each use of an alias counts all its nodes."""
MAX_DEPTH = 64

_NULLS = frozenset({"", "~", "null", "Null", "NULL"})
_LONGEST_LINE = 500


class SourceFile:
    """A file's text, with the conversion of offsets to lines and columns."""

    __slots__ = ("_starts", "last_offsets", "name", "text")

    def __init__(self, name: str, text: str) -> None:
        self.name = name
        self.text = text
        self._starts: list[int] | None = None
        self.last_offsets: tuple[Scalar, list[int]] | None = None
        """The most recent scalar and the offsets of its characters, as a cache."""

    def locate(self, start: int, end: int) -> SourceLocation:
        """Return the location of a span; of a span over several lines, the part on the first.

        Args:
            start: the offset of its first character.
            end: the offset after its last character.
        """
        if self._starts is None:
            self._starts = [0, *(index + 1 for index, char in enumerate(self.text) if char == "\n")]
        start = min(max(start, 0), len(self.text))
        line = bisect_right(self._starts, start)
        line_start = self._starts[line - 1]
        line_end = self._starts[line] - 1 if line < len(self._starts) else len(self.text)
        column = start - line_start
        text = self.text[line_start:line_end].rstrip("\r")
        width = max(1, min(end, line_start + len(text)) - start)
        # A line of megabytes would hide the message.
        cut = max(0, column - _LONGEST_LINE // 2) if len(text) > _LONGEST_LINE else 0
        text = text[cut : cut + _LONGEST_LINE]
        return SourceLocation(self.name, line, column + 1, min(width, _LONGEST_LINE), text, cut)


@dataclass(frozen=True, slots=True, eq=False)
class Scalar:
    """A scalar: a text."""

    value: str
    style: str
    """Empty for a plain scalar, otherwise its indicator: ' \" | >."""
    start: int
    end: int

    @property
    def is_null(self) -> bool:
        """Whether it is a YAML null."""
        return not self.style and self.value in _NULLS


@dataclass(frozen=True, slots=True, eq=False)
class Sequence:
    """A sequence of values."""

    items: tuple["Node", ...]
    start: int
    end: int


@dataclass(frozen=True, slots=True, eq=False)
class Mapping:
    """Keys and values in the order of the text; the first of duplicate keys counts."""

    pairs: tuple[tuple["Node", "Node"], ...]
    start: int
    end: int

    def get(self, key: str) -> "Node | None":
        """Return the value of a key; None if it is absent."""
        for name, value in self.pairs:
            if isinstance(name, Scalar) and name.value == key:
                return value
        return None

    def key(self, key: str) -> Scalar | None:
        """Return the node of a key itself."""
        return next((name for name in self.names() if name.value == key), None)

    def names(self) -> Iterator[Scalar]:
        """Return the keys that are scalars."""
        return (name for name, _ in self.pairs if isinstance(name, Scalar))


Node: TypeAlias = Scalar | Sequence | Mapping


def is_null(node: Node | None) -> bool:
    """Return whether a node exists and is a null."""
    return isinstance(node, Scalar) and node.is_null


class YamlError(LannerError, ValueError):
    """Raised for a text that is not valid YAML; `offset` locates the fault."""

    def __init__(self, message: str, offset: int | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.offset = offset


def read_documents(text: str) -> list[Node]:
    """Read all documents of a file.

    Args:
        text: the file's text, without a byte order mark.

    Raises:
        YamlError: the text is not YAML, or its size, depth or alias expansion exceeds the limits.
    """
    if len(text) > MAX_BYTES:
        raise YamlError(f"the file has {len(text):,} characters, more than the limit of {MAX_BYTES:,}")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise YamlError(
            "the file is not UTF-8: it contains half of a surrogate pair or a stray byte", error.start
        ) from None
    try:
        return _Composer(text).documents()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        words = [part for part in (error.context, error.problem) if part]
        raise YamlError(", ".join(words), _at(mark) if mark else None) from None
    except yaml.reader.ReaderError as error:
        raise YamlError(f"{error.reason}: character #x{_code(error.character):04x}", error.position) from None
    except yaml.YAMLError as error:
        raise YamlError(str(error)) from None


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

    def __init__(self, text: str) -> None:
        self._text = text
        self._anchors: dict[str, tuple[Node, int]] = {}
        self._open: list[_Open] = []
        self._documents: list[Node] = []
        self._weight = 0

    def documents(self) -> list[Node]:
        loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
        for event in yaml.parse(self._text, Loader=loader):
            if isinstance(event, yaml.ScalarEvent):
                self._add(self._scalar(event), 1, event.anchor, event)
            elif isinstance(event, yaml.AliasEvent):
                self._alias(event)
            elif isinstance(event, yaml.CollectionStartEvent):
                self._open.append(_Open(event))
                if len(self._open) > MAX_DEPTH:
                    raise YamlError(f"nested deeper than {MAX_DEPTH} levels", _at(event.start_mark))
            elif isinstance(event, yaml.CollectionEndEvent):
                self._close(event)
            elif isinstance(event, yaml.DocumentStartEvent):
                self._anchors.clear()
        return self._documents

    def _scalar(self, event: yaml.ScalarEvent) -> Scalar:
        start, end = _at(event.start_mark), _at(event.end_mark)
        value = event.value
        style = event.style or ""
        if event.tag is not None and event.tag.startswith("!") and not style:
            # A tag is text in a rule: `!=` is an operator.
            value = self._text[start:end].strip()
        return Scalar(value, style, start, end)

    def _alias(self, event: yaml.AliasEvent) -> None:
        known = self._anchors.get(event.anchor or "")
        if known is None:
            raise YamlError(f"the alias *{event.anchor} has no anchor before it", _at(event.start_mark))
        self._add(*known, None, event)

    def _close(self, event: yaml.CollectionEndEvent) -> None:
        done = self._open.pop()
        children, end = done.children, _at(event.end_mark)
        node: Node
        if done.is_mapping:
            node = Mapping(tuple(zip(children[::2], children[1::2], strict=True)), done.start, end)
        else:
            node = Sequence(tuple(children), done.start, end)
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
        if max(weight, self._weight) > MAX_NODES:
            raise YamlError(f"more than {MAX_NODES:,} nodes, with aliases expanded", _at(event.start_mark))
