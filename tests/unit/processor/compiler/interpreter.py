"""The oracle: evaluates a condition node by node, slowly and obviously, given a function that reads fields.

It shares no code with the compiler.
"""

import fnmatch
import ipaddress
import re
from collections.abc import Callable, Sequence
from typing import Any

from processor.language.ast import Ancestor, And, Check, Field, FieldValue, Literal, Macro, Node, Not, Or, ValueList

Read = Callable[[Field], Any]


def evaluate(node: Node, read: Read, above: Sequence[Read] = ()) -> bool:
    """Return whether a condition is true for an event. above: reads the fields of each ancestor, the parent first."""
    if isinstance(node, And):
        return all(evaluate(child, read, above) for child in node.children)
    if isinstance(node, Or):
        return any(evaluate(child, read, above) for child in node.children)
    if isinstance(node, Not):
        return not evaluate(node.child, read, above)
    if isinstance(node, Macro):
        return evaluate(node.body, read, above)
    if isinstance(node, Ancestor):
        return any(evaluate(node.condition, each, above[level:]) for level, each in enumerate(above, 1))
    assert isinstance(node, Check)
    return _check(node, read)


def _check(node: Check, read: Read) -> bool:
    assert isinstance(node.left, Field)
    value = read(node.left)
    if isinstance(value, tuple):
        return _several(node, value)
    if value is None:
        return False
    if node.operator == "exists":
        return True
    if isinstance(node.right, FieldValue):
        other = read(node.right.field)
        return other is not None and _one(node.operator, value, other)
    return _right(node, value)


def _several(node: Check, values: tuple[Any, ...]) -> bool:
    if node.operator == "exists":
        return bool(values)
    ends = isinstance(node.left, Field) and node.left.name in ("fd.ip", "fd.port")
    verdicts = [_right(node, value) for value in values]
    return bool(verdicts) and (all(verdicts) if ends and node.operator == "!=" else any(verdicts))


def _right(node: Check, value: Any) -> bool:
    if isinstance(node.right, ValueList):
        texts = [item.text for item in node.right.items]
    else:
        assert isinstance(node.right, Literal)
        texts = [node.right.text]
    if node.modifier == "anyof":
        return any(_one(node.operator, value, text) for text in texts)
    if node.modifier == "allof":
        return bool(texts) and all(_one(node.operator, value, text) for text in texts)
    if node.modifier == "oneof":
        return [_one(node.operator, value, text) for text in texts].count(True) == 1
    if node.operator in ("in", "intersects"):
        return any(_one("=", value, text) for text in texts)
    if node.operator == "pmatch":
        return any(_below(value, text) for text in texts)
    return _one(node.operator, value, texts[0])


def _below(path: str, root: str) -> bool:
    mine = [part for part in path.split("/") if part]
    theirs = [part for part in root.split("/") if part]
    return len(theirs) <= len(mine) and all(map(fnmatch.fnmatchcase, mine, theirs))


def _one(operator: str, value: Any, text: Any) -> bool:
    if isinstance(value, bool):
        text = text == "true" if isinstance(text, str) else text
    elif isinstance(value, int):
        text = int(text)
    elif re.fullmatch(r"[0-9]+(\.[0-9]+){3}|[0-9a-f]*:[0-9a-f:]*", value) and operator in ("=", "!="):
        return (ipaddress.ip_address(value) == ipaddress.ip_address(text)) is (operator == "=")
    table: dict[str, Callable[[], bool]] = {
        "=": lambda: value == text,
        "==": lambda: value == text,
        "!=": lambda: value != text,
        "<": lambda: value < text,
        "<=": lambda: value <= text,
        ">": lambda: value > text,
        ">=": lambda: value >= text,
        "contains": lambda: text in value,
        "icontains": lambda: text.lower() in value.lower(),
        "startswith": lambda: value.startswith(text),
        "endswith": lambda: value.endswith(text),
        "glob": lambda: fnmatch.fnmatchcase(value, text),
        "iglob": lambda: fnmatch.fnmatchcase(value.lower(), text.lower()),
        "regex": lambda: re.fullmatch(text, value, re.DOTALL) is not None,
    }
    return table[operator]()
