"""Texts of conditions that retain the file and position of each character.

A condition is composed of the rule's own text, appended text from other files, exceptions, and the items
of lists. A problem in the composed text is reported at the position in the author's file.
"""

import json
import re
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TypeAlias
from unicodedata import east_asian_width

from foundation.yaml.nodes import Node, ScalarNode, SourceLocation

Span: TypeAlias = tuple[int, int]

_TAB = "    "
_SHOWN_TAB = "\u2192   "
"""A tab that is the problem itself."""


def visible(text: str) -> str:
    """Return a text without characters that a terminal or a log would interpret; a tab becomes four blanks."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else _escaped(char) for char in text)


def excerpt(location: SourceLocation, tone: str = "", end: str = "") -> list[str]:
    """Return the line of a location and a line that underlines it; empty for a location without a line.

    tone, end: escape sequences around the underline.
    """
    if not location.line or not location.text:
        return []
    start = max(location.column - 1 - location.text_start, 0)
    number = str(location.line)
    margin = " " * len(number)
    before = visible(location.text[:start])
    marked = visible(location.text[start : start + location.width].replace("\t", _SHOWN_TAB))
    after = visible(location.text[start + location.width :])
    under = " " * _columns(before) + "^" * max(1, _columns(marked))
    return [f"  {number} | {before}{marked}{after}", f"  {margin} | {tone}{under}{end}"]


def _escaped(char: str) -> str:
    code = ord(char)
    if char == "\t":
        return _TAB
    if 0xDC80 <= code <= 0xDCFF:
        return f"\\x{code - 0xDC00:02x}"
    if code <= 0xFF:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"


def _columns(text: str) -> int:
    return sum(2 if east_asian_width(char) in "WF" else 1 for char in text)


Edit = tuple[int, int, int, int]
"""A replacement: start and end in the new text, start and end in the old text."""

PYTHON = "python"
"""The style of a scalar that is a string in Python, or several that follow each other."""
_QUOTES = "\"'"
_ESCAPE_LENGTHS = {"x": 4, "u": 6, "U": 10}


@dataclass(frozen=True, slots=True)
class Piece:
    """A piece of text and the node that it was written as or made from."""

    text: str
    node: Node


@dataclass(slots=True)
class TracedText:
    """A text composed of pieces, and the edits made to it since."""

    pieces: tuple[Piece, ...]
    text: str
    edits: list[list[Edit]] = field(default_factory=list)
    """One list for each scan of the text, each in order."""

    @classmethod
    def of(cls, pieces: Sequence[Piece]) -> "TracedText":
        """Return the text of joined pieces."""
        return cls(tuple(pieces), "".join(piece.text for piece in pieces))

    def edit(self, text: str, edits: list[Edit]) -> None:
        """Record the whole new text after one pass of replacements."""
        self.text = text
        self.edits.append(edits)

    def locate(self, span: Span) -> SourceLocation:
        """Return the location in a file of a span of the current text; of a list's item, that of the list's name."""
        start, end = self._written_span(span)
        offset = 0
        last = None
        for piece in self.pieces:
            if piece.text:
                last = piece
                if offset + len(piece.text) > start:
                    return _location_in(piece, start - offset, min(end - offset, len(piece.text)))
            offset += len(piece.text)
        if last is None:
            last = self.pieces[0]
        return _location_in(last, len(last.text) - 1, len(last.text))

    def written(self, span: Span) -> str:
        """Return what a span of the current text was before lists were replaced: a list's name for one of its items."""
        start, end = self._written_span(span)
        return "".join(piece.text for piece in self.pieces)[start:end].strip()

    def _written_span(self, span: Span) -> Span:
        start, end = span
        first = self._original(start)
        return first, max(self._original(max(start, end - 1), is_end=True) + 1, first + 1)

    def _original(self, offset: int, *, is_end: bool = False) -> int:
        for edits in reversed(self.edits):
            index = bisect_right(edits, offset, key=lambda edit: edit[0]) - 1
            if index < 0:
                continue
            _, new_end, old_start, old_end = edits[index]
            if offset >= new_end:
                offset += old_end - new_end
            else:
                offset = old_end - 1 if is_end else old_start
        return offset


def _location_in(piece: Piece, start: int, end: int) -> SourceLocation:
    node = piece.node
    if not isinstance(node, ScalarNode) or not node.value.startswith(piece.text):
        return node_location(node)
    offsets = _offsets(node)
    if not offsets:
        return node_location(node)
    first = offsets[min(max(start, 0), len(offsets) - 1)]
    last = offsets[min(max(end - 1, start, 0), len(offsets) - 1)]
    return node.file.locate(first, max(last, first) + 1)


def node_location(node: Node) -> SourceLocation:
    """Return the location of a node; of a block scalar, that of its text."""
    if isinstance(node, ScalarNode) and node.style in ("|", ">"):
        offsets = _offsets(node)
        if offsets:
            return node.file.locate(offsets[0], offsets[-1] + 1)
    return node.location


def _offsets(node: ScalarNode) -> list[int]:
    file = node.file
    # Consecutive problems are usually in the same text, which may be long.
    if file.last_offsets is None or file.last_offsets[0] is not node:
        file.last_offsets = (node, scalar_offsets(file.text, node))
    return file.last_offsets[1]


def scalar_offsets(text: str, scalar: ScalarNode) -> list[int]:
    """Return the offset in the file's text of each character of a scalar's value.

    Folding, indentation and escapes make the value differ from the written text; this scans both in parallel.
    """
    position, end = scalar.start, scalar.end
    if scalar.style in ("|", ">"):
        position = text.find("\n", position, end) + 1 or end
    elif scalar.style == PYTHON:
        position = next((at for at in range(position, end) if text[at] in _QUOTES), position)
        position += 3 if text[position : position + 3] == 3 * text[position] else 1
    elif scalar.style:
        position += 1
    offsets = []
    for character in scalar.value:
        if character.isspace():
            if position < end and text[position].isspace() and text[position] != character:
                # A folded line end includes the blanks up to the next word.
                offsets.append(position)
                position += 1
                continue
        else:
            while (
                position < end
                and text[position] != character
                and (text[position].isspace() or (scalar.style == PYTHON and text[position] in _QUOTES))
            ):
                position += 1
        offsets.append(min(position, max(end - 1, scalar.start)))
        position += _written_length(text, position, end, character, scalar.style)
    return offsets


def _written_length(text: str, position: int, end: int, character: str, style: str) -> int:
    if position >= end:
        return 0
    if style in ('"', PYTHON) and text[position] == "\\":
        return _ESCAPE_LENGTHS.get(text[position + 1 : position + 2], 2)
    if style == "'" and character == "'":
        return 2
    return 1 if text[position] == character else 0


_BARE = re.compile(r"[A-Za-z0-9_./][A-Za-z0-9_./|+@ -]*[A-Za-z0-9_./|+@-]|[A-Za-z0-9_./]")
_WORDS = frozenset({"null", "~", "yes", "no", "true", "false", "none"})


def yaml_scalar(text: str) -> str:
    """Write a text plain if YAML reads it back unchanged, else in quotes; undecodable bytes become U+FFFD."""
    if _BARE.fullmatch(text) and text.lower() not in _WORDS:
        return text
    valid = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    # JSON escapes characters beyond U+FFFF as two, which YAML doesn't read as one.
    return "".join(map(_writing_escaped, json.dumps(valid, ensure_ascii=False)))


def _writing_escaped(character: str) -> str:
    if character.isprintable():
        return character
    return f"\\U{ord(character):08x}"
