"""Accessors that read typed values from a mapping, or reject the item.

Source: falco rule_loader_reader.cpp and yaml-cpp's conversions.
"""

import re

from foundation.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode, SourceLocation, is_null
from foundation.yaml.text import node_location
from processor.loading.definitions import ItemLocation
from processor.loading.problems import ItemRejected, Problem, ProblemCode

_TRUTHS = {"y": True, "yes": True, "true": True, "on": True, "n": False, "no": False, "false": False, "off": False}
_WHOLE = re.compile(r"\+?(?:0[xX](?P<hex>[0-9a-fA-F]{1,20})|(?P<dec>[0-9]{1,20}))")
_UINT32 = 2**32


def reject(
    message: str, spot: ItemLocation, node: Node | None = None, *, code: ProblemCode, hint: str = ""
) -> ItemRejected:
    """Return the error to raise for an invalid item. node: the part that is wrong. hint: what to do."""
    return ItemRejected(problem(code, message, spot, node, hint))


def problem(code: ProblemCode, message: str, spot: ItemLocation, node: Node | None = None, hint: str = "") -> Problem:
    """Return a problem of an item or a part of it."""
    location = node_location(node) if node is not None else head_location(spot)
    return Problem(code, message, spot.type, spot.name, location, hint)


def head_location(spot: ItemLocation) -> SourceLocation:
    """Return the location of an item's first key, such as `rule: name`, instead of the whole item."""
    node = spot.node
    if isinstance(node, MappingNode) and node.pairs:
        key, value = node.pairs[0]
        end = value.end if isinstance(value, ScalarNode) else key.end
        return node.file.locate(key.start, end)
    return node.location


def invalid(message: str, spot: ItemLocation, node: Node | None = None, hint: str = "") -> ItemRejected:
    """Return the error to raise for an invalid structure."""
    return reject(message, spot, node, code=ProblemCode.LOAD_ERR_YAML_VALIDATE, hint=hint)


def scalar(item: MappingNode, key: str, spot: ItemLocation, *, hint: str = "") -> ScalarNode:
    """Return a required text. Raises ItemRejected if it is missing, empty or not a text."""
    node = item.get(key)
    if node is None:
        raise invalid(f"Item has no mapping for key '{key}'", spot, hint=hint or f"add '{key}: ...'")
    if is_null(node):
        raise invalid(f"Mapping for key '{key}' is empty", spot, item.key(key), f"write a value after '{key}:'")
    if not isinstance(node, ScalarNode):
        raise invalid("Value is not a scalar value", spot, node, f"'{key}' is a text, not a list or mapping")
    if not node.value:
        raise invalid("Value must be non-empty", spot, node, f"write a value for '{key}'")
    return node


def optional_scalar(item: MappingNode, key: str, spot: ItemLocation) -> ScalarNode | None:
    """Return an optional text; None if it is absent."""
    return None if item.get(key) is None else scalar(item, key, spot)


def truth(item: MappingNode, key: str, spot: ItemLocation) -> bool:
    """Return a required boolean in one of YAML's notations."""
    node = scalar(item, key, spot)
    text = node.value
    value = _TRUTHS.get(text.lower())
    if value is None or text not in (text.lower(), text.upper(), text.capitalize()):
        raise invalid("Can't decode YAML scalar value", spot, node, f"'{key}' is true or false")
    return value


def optional_truth(item: MappingNode, key: str, spot: ItemLocation, *, default: bool) -> bool:
    """Return an optional boolean."""
    return default if item.get(key) is None else truth(item, key, spot)


def number(item: MappingNode, key: str, spot: ItemLocation) -> int:
    """Return a required integer from 0 to 2^32 - 1."""
    node = scalar(item, key, spot)
    value = whole_number(node.value)
    if value is None:
        raise invalid("Can't decode YAML scalar value", spot, node, f"'{key}' is an integer")
    return value


def whole_number(text: str) -> int | None:
    """Parse a decimal, 0x hexadecimal or 0 octal number below 2^32; None if the text is not one."""
    match = _WHOLE.fullmatch(text)
    if match is None:
        return None
    digits, base = (match["hex"], 16) if match["hex"] else (match["dec"], 8 if match["dec"][0] == "0" else 10)
    try:
        value = int(digits, base)
    except ValueError:
        return None
    return value if value < _UINT32 else None


def texts(item: MappingNode, key: str, spot: ItemLocation) -> list[ScalarNode]:
    """Return a required list of texts."""
    node = item.get(key)
    if node is None:
        raise invalid(f"Item has no mapping for key '{key}'", spot, hint=f"add '{key}: [...]'")
    if not isinstance(node, SequenceNode):
        raise invalid("Value is not a sequence", spot, node, f"'{key}' is a list, as in '{key}: [a, b]'")
    found = []
    for value in node.items:
        if not isinstance(value, ScalarNode) or value.is_null:
            raise invalid("sequence value is not scalar", spot, value, f"each item of '{key}' is a text")
        found.append(value)
    return found


def tags(item: MappingNode, spot: ItemLocation) -> set[str]:
    """Return the tags; an empty set if the key is absent."""
    return set() if item.get("tags") is None else {node.value for node in texts(item, "tags", spot)}
