"""The nodes of a YAML tree. Every scalar is the text that was written.

`22`, `yes`, `12:30:00` and `=` are not converted to numbers, booleans or times: what a text means is for its reader.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeAlias

from schemas.yaml.source import SourceFile, SourceLocation

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
        """Whether it is a YAML null."""
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
