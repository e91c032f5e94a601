import pytest

from foundation.yaml.nodes import MappingNode, ScalarNode, SourceFile
from foundation.yaml.reading import read_documents


def mapping(text: str) -> MappingNode:
    """Return the mapping that a text holds."""
    (node,) = read_documents(SourceFile("a.yaml", text))
    assert isinstance(node, MappingNode)
    return node


def test_a_scalar_is_the_text_that_was_written() -> None:
    """Nothing becomes a number, a boolean or a time; a tag is part of the text."""
    node = mapping("a: 0644\nb: yes\nc: 12:30:00\nd: =\ne: !tag x\nf: !!str 5\n")
    assert [value.value for _, value in node.entries() if isinstance(value, ScalarNode)] == [
        "0644",
        "yes",
        "12:30:00",
        "=",
        "!tag x",
        "5",
    ]


@pytest.mark.parametrize(
    ("written", "text"), [("", None), ("~", None), ("null", None), ("'null'", "null"), ("''", ""), ("nil", "nil")]
)
def test_a_null_has_no_text(written: str, text: str | None) -> None:
    """Quotes make a text of it."""
    node = mapping(f"a: {written}").get("a")
    assert isinstance(node, ScalarNode)
    assert node.text == text


def test_every_node_knows_its_location() -> None:
    """Keys, values and collections have a line, a column and the line's text."""
    node = mapping("a: 1\nb:\n  - x\n  - y: z\n")
    key, value = node.key("b"), node.get("b")
    assert key is not None
    assert value is not None
    assert str(key.location) == "a.yaml:2:1"
    assert str(value.location) == "a.yaml:3:3"
    assert (value.location.text, key.location.width) == ("  - x", 1)


def test_the_first_of_duplicate_keys_counts() -> None:
    """Keys that are not scalars are ignored."""
    node = mapping("a: 1\n? [b]\n: 2\na: 3\n")
    found = node.get("a")
    assert isinstance(found, ScalarNode)
    assert found.value == "1"
    assert [key.value for key in node.names()] == ["a", "a"]
    assert node.get("b") is None
