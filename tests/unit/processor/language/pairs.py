"""A reader of fixture files: an input line, the expected line and a blank line, repeated; # begins a comment."""

from pathlib import Path

import pytest

from processor.language.ast import Node
from processor.language.parser import DEFAULT_DEPTH, parse
from processor.language.tokens import ConditionError


def each_pair(name: str) -> pytest.MarkDecorator:
    """Run a test once per pair of a file, as its arguments ``text`` and ``expected``."""
    path = Path(__file__).with_name("fixtures") / name
    pairs = []
    for block in path.read_text(encoding="utf-8").split("\n\n"):
        lines = [line for line in block.splitlines() if line and not line.startswith("#")]
        if lines:
            text, expected = lines
            pairs.append(pytest.param(text, expected, id=text))
    return pytest.mark.parametrize(("text", "expected"), pairs)


def accept(text: str) -> Node:
    """Parse a condition twice, with different blanks between its tokens, and check that the trees are equal."""
    tree = parse(text)
    if "'" not in text and '"' not in text:
        for blank in ("\n", "\t", "\r\n", "  "):
            assert parse(text.replace(" ", blank)) == tree
    return tree


def reject(text: str, max_depth: int = DEFAULT_DEPTH) -> ConditionError:
    """Return the error of a text that is not a condition."""
    with pytest.raises(ConditionError) as caught:
        parse(text, max_depth)
    start, end = caught.value.span
    assert 0 <= start <= end <= len(text)
    return caught.value


def same_tree(text: str, other: str) -> None:
    """Two texts have the same meaning."""
    assert accept(text) == accept(other)
