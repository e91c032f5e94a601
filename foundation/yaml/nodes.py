"""The nodes of a YAML tree, the limits of a file, and its errors. Every scalar is the text that was written.

`22`, `yes`, `12:30:00` and `=` are not converted to numbers, booleans or times: what a text means is for its reader.
"""

from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeAlias

from foundation.errors import LannerError

_LONGEST_LINE = 500


@dataclass(frozen=True, slots=True)
class SourceLocation:
    """A place in a file; lines and columns are characters, from 1."""

    file: str
    line: int = 0
    """0 for the whole file."""
    column: int = 0
    width: int = 0
    """The number of characters in the line that it covers."""
    text: str = ""
    """The line in the file; of a very long line, the part around the column."""
    text_start: int = 0
    """The number of characters in the line before that part."""
    last_line: int = 0
    """The line of its last character; 0 if it is the first line."""
    last_column: int = 0
    """The column after its last character, if that is on another line."""

    @property
    def end_line(self) -> int:
        """The line of its last character; 0 for the whole file."""
        return self.last_line or self.line

    @property
    def end_column(self) -> int:
        """The column after its last character; 0 for the whole file."""
        return self.last_column or (self.column + max(self.width, 1) if self.line else 0)

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}" if self.line else self.file


class SourceFile:
    """A file's text, with the conversion of offsets to lines and columns."""

    __slots__ = ("_has_lines", "_starts", "last_offsets", "name", "text")

    def __init__(self, name: str, text: str, *, has_lines: bool = True) -> None:
        """Take a text, with or without a byte order mark, and the file's name for messages.

        has_lines: whether lines mean something to the author, unlike those of a variable or a flag.
        """
        self.name = name
        self.text = text.removeprefix("\ufeff")
        self.last_offsets: tuple[object, list[int]] | None = None
        """The most recent scalar and the offsets of its characters, as a cache."""
        self._has_lines = has_lines
        self._starts: list[int] | None = None

    def locate(self, start: int, end: int) -> SourceLocation:
        """Return the location of a span between two offsets; of a span over several lines, the part on the first."""
        if not self._has_lines:
            return SourceLocation(self.name)
        if self._starts is None:
            self._starts = [0, *(index + 1 for index, char in enumerate(self.text) if char == "\n")]
        start, end = min(max(start, 0), len(self.text)), min(end, len(self.text))
        line = bisect_right(self._starts, start)
        line_start = self._starts[line - 1]
        line_end = self._starts[line] - 1 if line < len(self._starts) else len(self.text)
        column = start - line_start
        text = self.text[line_start:line_end].rstrip("\r")
        width = max(1, min(end, line_start + len(text)) - start)
        # A line of megabytes would hide the message.
        cut = max(0, column - _LONGEST_LINE // 2) if len(text) > _LONGEST_LINE else 0
        text = text[cut : cut + _LONGEST_LINE]
        here = (self.name, line, column + 1, min(width, _LONGEST_LINE), text, cut)
        last = bisect_right(self._starts, max(end - 1, start))
        return SourceLocation(*here, *((last, end - self._starts[last - 1] + 1) if last > line else ()))


_NULLS = frozenset({"", "~", "null", "Null", "NULL"})


@dataclass(frozen=True, slots=True, eq=False)
class _Placed:
    file: SourceFile
    start: int
    """Offset of the first character."""
    end: int
    """Offset after the last character."""

    @property
    def location(self) -> SourceLocation:
        """Where it was written."""
        return self.file.locate(self.start, self.end)


@dataclass(frozen=True, slots=True, eq=False)
class ScalarNode(_Placed):
    """A scalar: a text."""

    value: str
    style: str = ""
    """Empty for a plain scalar, otherwise its indicator: ' \" | >."""

    @property
    def is_null(self) -> bool:
        """True if it is a YAML null."""
        return not self.style and self.value in _NULLS

    @property
    def text(self) -> str | None:
        """The value; None for a null."""
        return None if self.is_null else self.value


@dataclass(frozen=True, slots=True, eq=False)
class SequenceNode(_Placed):
    """A sequence of values."""

    items: tuple["Node", ...]


@dataclass(frozen=True, slots=True, eq=False)
class MappingNode(_Placed):
    """Keys and values in the order of the text; the first of duplicate keys counts."""

    pairs: tuple[tuple["Node", "Node"], ...]

    def entries(self) -> Iterator[tuple[ScalarNode, "Node"]]:
        """Yield the pairs whose key is a scalar."""
        return ((name, value) for name, value in self.pairs if isinstance(name, ScalarNode))

    def names(self) -> Iterator[ScalarNode]:
        """Yield the keys that are scalars."""
        return (name for name, _ in self.entries())

    def get(self, key: str) -> "Node | None":
        """Return the value of a key; None if it is absent."""
        return next((value for name, value in self.entries() if name.value == key), None)

    def key(self, key: str) -> ScalarNode | None:
        """Return the node of a key itself."""
        return next((name for name in self.names() if name.value == key), None)


Node: TypeAlias = ScalarNode | SequenceNode | MappingNode


def is_null(node: Node | None) -> bool:
    """Return whether a node exists and is a null."""
    return isinstance(node, ScalarNode) and node.is_null


@dataclass(frozen=True, slots=True)
class Limits:
    """How much a file may contain."""

    characters: int
    nodes: int
    """Each use of an alias counts all its nodes."""
    depth: int


class YamlError(LannerError, ValueError):
    """Raised for a text that is not valid YAML."""

    def __init__(self, message: str, location: SourceLocation, problem: str = "", hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.location = location
        self.hint = hint
        """The remedy; empty if none is known."""
        self.problem = problem or message
        """The message without what the parser was at."""


class OverLimits(YamlError):
    """Raised for a text whose size, depth or alias expansion exceeds the limits."""
