"""Condition texts that know where in which file each of their characters came from.

A condition is put together: from the rule's own text, what was appended in other files, its exceptions,
and the items of lists in the place of their names. A problem found in the result is shown where the
author wrote it.
"""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field

from processor.language.ast import Span
from processor.loading.problems.model import SourceLocation
from processor.loading.yaml.nodes import Node, Scalar, SourceFile

Edit = tuple[int, int, int, int]
"""A replaced stretch: start and end in the new text, start and end in the old one."""

_ESCAPE_LENGTHS = {"x": 4, "u": 6, "U": 10}


@dataclass(frozen=True, slots=True)
class Piece:
    """A stretch of text and what it was written as, or made from."""

    text: str
    file: SourceFile
    node: Node


@dataclass(slots=True)
class TracedText:
    """A text in pieces, and the edits made to it since."""

    pieces: tuple[Piece, ...]
    text: str
    edits: list[list[Edit]] = field(default_factory=list)
    """One list a pass over the text, each in order."""

    @classmethod
    def of(cls, pieces: Sequence[Piece]) -> "TracedText":
        """Join the pieces."""
        return cls(tuple(pieces), "".join(piece.text for piece in pieces))

    def edit(self, text: str, edits: list[Edit]) -> None:
        """Take the result of one pass of replacements.

        Args:
            text: the whole new text.
            edits: what was replaced in this pass.
        """
        self.text = text
        self.edits.append(edits)

    def place(self, span: Span) -> SourceLocation:
        """Find the place in a file of a span of the present text."""
        start, end = span
        start, end = self._original(start), max(self._original(max(start, end - 1)) + 1, self._original(start) + 1)
        offset = 0
        last = None
        for piece in self.pieces:
            if piece.text:
                last = piece
                if offset + len(piece.text) > start:
                    return _place(piece, start - offset, min(end - offset, len(piece.text)))
            offset += len(piece.text)
        if last is None:
            last = self.pieces[0]
        return _place(last, len(last.text) - 1, len(last.text))

    def _original(self, offset: int) -> int:
        for edits in reversed(self.edits):
            index = bisect_right(edits, offset, key=lambda edit: edit[0]) - 1
            if index < 0:
                continue
            _, new_end, old_start, old_end = edits[index]
            offset = old_start if offset < new_end else offset - new_end + old_end
        return offset


def _place(piece: Piece, start: int, end: int) -> SourceLocation:
    node = piece.node
    if not isinstance(node, Scalar) or not node.value.startswith(piece.text):
        return node_place(piece.file, node)
    offsets = _offsets(piece.file, node)
    if not offsets:
        return node_place(piece.file, node)
    first = offsets[min(max(start, 0), len(offsets) - 1)]
    last = offsets[min(max(end - 1, start, 0), len(offsets) - 1)]
    return piece.file.place(first, max(last, first) + 1)


def node_place(file: SourceFile, node: Node) -> SourceLocation:
    """Give the place of a whole node; of a block scalar, that of its text."""
    if isinstance(node, Scalar) and node.style in ("|", ">"):
        offsets = _offsets(file, node)
        if offsets:
            return file.place(offsets[0], offsets[-1] + 1)
    return file.place(node.start, node.end)


def _offsets(file: SourceFile, node: Scalar) -> list[int]:
    # Problems come one after another in the same text, which may be long.
    if file.last_offsets is None or file.last_offsets[0] is not node:
        file.last_offsets = (node, scalar_offsets(file.text, node))
    return file.last_offsets[1]


def scalar_offsets(text: str, scalar: Scalar) -> list[int]:
    """Find for each character of a scalar's value the offset in the file at which it was written.

    Folding, indentation and escapes part the value from what was written; this walks along both.

    Args:
        text: the file's text.
        scalar: a scalar of that file.
    """
    position, end = scalar.start, scalar.end
    if scalar.style in ("|", ">"):
        position = text.find("\n", position, end) + 1 or end
    elif scalar.style:
        position += 1
    offsets = []
    for character in scalar.value:
        if character.isspace():
            if position < end and text[position].isspace() and text[position] != character:
                # A folded line end: what follows it up to the next word belongs to it.
                offsets.append(position)
                position += 1
                continue
        else:
            while position < end and text[position] != character and text[position].isspace():
                position += 1
        offsets.append(min(position, max(end - 1, scalar.start)))
        position += _written_length(text, position, end, character, scalar.style)
    return offsets


def _written_length(text: str, position: int, end: int, character: str, style: str) -> int:
    if position >= end:
        return 0
    if style == '"' and text[position] == "\\":
        return _ESCAPE_LENGTHS.get(text[position + 1 : position + 2], 2)
    if style == "'" and character == "'":
        return 2
    return 1 if text[position] == character else 0
