import pytest

from foundation.yaml.nodes import Limits, OverLimits, SourceFile, YamlError
from foundation.yaml.reading import read_documents

SMALL = Limits(characters=100, nodes=20, depth=3)


@pytest.mark.parametrize(
    ("text", "location"),
    [
        ("x" * 101, "a"),
        ("[[[[1]]]]", "a:1:4"),
        ("[" + "x," * 20 + "]", "a:1:40"),
        ("- &a [x,x,x,x,x]\n- &b [*a,*a,*a]\n- [*b]\n", "a:2:15"),
    ],
)
def test_what_exceeds_a_limit_is_refused_with_its_location(text: str, location: str) -> None:
    """Characters, depth and nodes are bounded; each use of an alias counts all its nodes."""
    with pytest.raises(OverLimits) as caught:
        read_documents(SourceFile("a", text), SMALL)
    assert str(caught.value.location) == location


@pytest.mark.parametrize(
    ("text", "location", "problem"),
    [
        ("a: [1, 2", "a:1:9", "did not find expected ',' or ']'"),
        ("a: b: c", "a:1:5", "mapping values are not allowed in this context"),
        ("x\n--- *y", "a:2:5", "the alias *y has no anchor before it"),
        ("a: \x01", "a:1:4", "character #x0001"),
        ("a: \udc80", "a:1:4", "not UTF-8"),
    ],
)
def test_a_syntax_error_has_its_location(text: str, location: str, problem: str) -> None:
    """The problem alone is shorter than the message, which begins with what the parser was at."""
    with pytest.raises(YamlError) as caught:
        read_documents(SourceFile("a", text))
    assert str(caught.value.location) == location
    assert problem in caught.value.problem
    assert caught.value.message.endswith(caught.value.problem)


def test_a_file_holds_any_number_of_documents() -> None:
    """An empty file holds none."""
    assert read_documents(SourceFile("a", "# nothing\n")) == []
    assert [str(node.location) for node in read_documents(SourceFile("a", "x\n---\n- y\n"))] == ["a:1:1", "a:3:1"]
