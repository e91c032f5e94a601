from typing import Any

import pytest

from foundation.yaml.nodes import MappingNode, Node, SequenceNode
from lanner.errors import BadInput
from lanner.settings.load import parse_yaml, with_setting


def plain(node: Node) -> Any:
    """Return a tree as plain values."""
    if isinstance(node, MappingNode):
        return {key.value: plain(value) for key, value in node.entries()}
    return [plain(item) for item in node.items] if isinstance(node, SequenceNode) else node.text


@pytest.mark.parametrize(
    ("path", "value", "result"),
    [
        ("a", "x", {"a": "x", "b": {"c": "1"}}),
        ("b.c", "2", {"a": ["1"], "b": {"c": "2"}}),
        ("b.d", "2", {"a": ["1"], "b": {"c": "1", "d": "2"}}),
        ("b", "{d: [2]}", {"a": ["1"], "b": {"c": "1", "d": ["2"]}}),
        ("b", "x", {"a": ["1"], "b": "x"}),
        ("a", "[2]", {"a": ["2"], "b": {"c": "1"}}),
        ("a[]", "2", {"a": ["1", "2"], "b": {"c": "1"}}),
        ("a[].x.y", "2", {"a": ["1", {"x": {"y": "2"}}], "b": {"c": "1"}}),
        ("b[]", "2", {"a": ["1"], "b": ["2"]}),
        ("b.c[].d", "2", {"a": ["1"], "b": {"c": [{"d": "2"}]}}),
        ("a", "null", {"a": "null", "b": {"c": "1"}}),
        ("a", "%x: y", {"a": "%x: y", "b": {"c": "1"}}),
    ],
)
def test_a_setting_replaces_merges_or_appends(path: str, value: str, result: object) -> None:
    """Mappings are merged and [] appends; a text is taken literally."""
    tree = with_setting(parse_yaml("a: [1]\nb: {c: 1}", "f"), path, value, "-o")
    assert plain(tree) == result


def test_what_a_flag_sets_is_at_the_flag() -> None:
    """What it leaves has its line and column."""
    tree = with_setting(parse_yaml("a: 1\nb: {c: 1}", "f"), "b.d", "{e: 1}", "-o b.d={e: 1}")
    assert isinstance(tree, MappingNode)
    below = tree.get("b")
    assert isinstance(below, MappingNode)
    assert [str(key.location) for key in below.names()] == ["f:2:5", "-o b.d={e: 1}"]


@pytest.mark.parametrize(("path", "value"), [("a b", "x"), ("a[", "x"), ("", "x"), ("a", "[x"), ("a", "{x: 1, x: 2}")])
def test_an_invalid_flag_is_named(path: str, value: str) -> None:
    """Without a line, which a flag does not have."""
    with pytest.raises(BadInput) as caught:
        with_setting(parse_yaml("", "f"), path, value, "-o flag")
    assert caught.value.messages[0].startswith("-o flag: ")


def test_settings_are_one_document() -> None:
    """The second would be ignored otherwise."""
    with pytest.raises(BadInput, match=r"^f:3:1: settings are one document\.\n"):
        parse_yaml("a: 1\n---\nb: 2\n", "f")
