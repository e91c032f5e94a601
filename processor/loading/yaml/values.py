"""Takes values out of a mapping, or says what is wrong with them.

Source: falco rule_loader_reader.cpp and yaml-cpp's conversions.
"""

import re

from processor.loading.definitions import ItemLocation
from processor.loading.problems.model import ItemRejected, Problem, ProblemCode, SourceLocation
from processor.loading.yaml.nodes import Mapping, Node, Scalar, Sequence, is_null
from processor.loading.yaml.tracing import node_place

_TRUTHS = {"y": True, "yes": True, "true": True, "on": True, "n": False, "no": False, "false": False, "off": False}
_WHOLE = re.compile(r"\+?(?:0[xX](?P<hex>[0-9a-fA-F]{1,20})|(?P<dec>[0-9]{1,20}))")
_UINT32 = 2**32


def reject(
    message: str, spot: ItemLocation, node: Node | None = None, *, code: ProblemCode, hint: str = ""
) -> ItemRejected:
    """Make the error that ends the reading of an item.

    Args:
        message: what is wrong.
        spot: the item.
        node: the part of it that is meant.
        code: the kind of error.
        hint: what to do.
    """
    return ItemRejected(problem(code, message, spot, node, hint))


def problem(code: ProblemCode, message: str, spot: ItemLocation, node: Node | None = None, hint: str = "") -> Problem:
    """Make a problem of an item, or of a part of it."""
    place = node_place(spot.file, node) if node is not None else head_place(spot)
    return Problem(code, message, spot.type, spot.name, place, hint)


def head_place(spot: ItemLocation) -> SourceLocation:
    """Give the first line of an item: `rule: name` says more than the whole of it."""
    node = spot.node
    if isinstance(node, Mapping) and node.pairs:
        key, value = node.pairs[0]
        end = value.end if isinstance(value, Scalar) else key.end
        return spot.file.place(key.start, end)
    return spot.file.place(node.start, node.end)


def invalid(message: str, spot: ItemLocation, node: Node | None = None, hint: str = "") -> ItemRejected:
    """Make the error for a wrong shape."""
    return reject(message, spot, node, code=ProblemCode.LOAD_ERR_YAML_VALIDATE, hint=hint)


def scalar(item: Mapping, key: str, spot: ItemLocation, *, hint: str = "") -> Scalar:
    """Take a text that has to be there.

    Raises:
        Rejected: it is absent, empty or no text.
    """
    node = item.get(key)
    if node is None:
        raise invalid(f"Item has no mapping for key '{key}'", spot, hint=hint or f"add '{key}: ...'")
    if is_null(node):
        raise invalid(f"Mapping for key '{key}' is empty", spot, item.key(key), f"write a value after '{key}:'")
    if not isinstance(node, Scalar):
        raise invalid("Value is not a scalar value", spot, node, f"'{key}' takes one text, not a list or mapping")
    if not node.value:
        raise invalid("Value must be non-empty", spot, node, f"write a value for '{key}'")
    return node


def optional_scalar(item: Mapping, key: str, spot: ItemLocation) -> Scalar | None:
    """Take a text that may be absent; None where it is."""
    return None if item.get(key) is None else scalar(item, key, spot)


def truth(item: Mapping, key: str, spot: ItemLocation) -> bool:
    """Take a truth value, written in one of YAML's ways."""
    node = scalar(item, key, spot)
    text = node.value
    value = _TRUTHS.get(text.lower())
    if value is None or text not in (text.lower(), text.upper(), text.capitalize()):
        raise invalid("Can't decode YAML scalar value", spot, node, f"'{key}' takes true or false")
    return value


def optional_truth(item: Mapping, key: str, spot: ItemLocation, *, default: bool) -> bool:
    """Take a truth value that may be absent."""
    return default if item.get(key) is None else truth(item, key, spot)


def number(item: Mapping, key: str, spot: ItemLocation) -> int:
    """Take a whole number from 0 to 2^32 - 1."""
    node = scalar(item, key, spot)
    value = whole_number(node.value)
    if value is None:
        raise invalid("Can't decode YAML scalar value", spot, node, f"'{key}' takes a whole number")
    return value


def whole_number(text: str) -> int | None:
    """Read a decimal, 0x or 0 octal number below 2^32; None where it is none."""
    match = _WHOLE.fullmatch(text)
    if match is None:
        return None
    digits, base = (match["hex"], 16) if match["hex"] else (match["dec"], 8 if match["dec"][0] == "0" else 10)
    try:
        value = int(digits, base)
    except ValueError:
        return None
    return value if value < _UINT32 else None


def texts(item: Mapping, key: str, spot: ItemLocation) -> list[Scalar]:
    """Take a list of texts that has to be there."""
    node = item.get(key)
    if node is None:
        raise invalid(f"Item has no mapping for key '{key}'", spot, hint=f"add '{key}: [...]'")
    if not isinstance(node, Sequence):
        raise invalid("Value is not a sequence", spot, node, f"'{key}' takes a list, as in '{key}: [a, b]'")
    found = []
    for value in node.items:
        if not isinstance(value, Scalar) or value.is_null:
            raise invalid("sequence value is not scalar", spot, value, f"each of '{key}' is one text")
        found.append(value)
    return found


def tags(item: Mapping, spot: ItemLocation) -> set[str]:
    """Take the tags, none where the key is absent."""
    return set() if item.get("tags") is None else {node.value for node in texts(item, "tags", spot)}
