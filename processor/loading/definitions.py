"""Items of rule files while they are collected, and the accessors that read their values from a mapping.

Items are mutable until all files are read. An accessor rejects the item if a value has the wrong type.
Source: falco rule_loader_reader.cpp and yaml-cpp's conversions.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from foundation.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode, SourceLocation, is_null
from foundation.yaml.text import Piece, node_location
from processor.language.tokens import IDENTIFIER
from processor.loading.problems import ItemRejected, Problem, ProblemCode
from processor.rule import PythonFunction
from schemas.catalog.priorities import Priority

EXTENSION_KEYS = {"macro": ("correlation",), "rule": ("suppress", "response", "actions")}
"""Keys that only Lanner supports; their values are stored unparsed for the modules that interpret them."""


PLACEHOLDER = "evt.num >= 0"
"""The text of a macro whose legs are rules."""

_TRUTHS = {"y": True, "yes": True, "true": True, "on": True, "n": False, "no": False, "false": False, "off": False}
_WHOLE = re.compile(r"\+?(?:0[xX](?P<hex>[0-9a-fA-F]{1,20})|(?P<dec>[0-9]{1,20}))")
_UINT32 = 2**32


@dataclass(frozen=True, slots=True)
class ItemLocation:
    """An item in a file: the location of problems that have no more precise one."""

    node: Node
    type: str
    name: str = ""


@dataclass(frozen=True, slots=True)
class ExceptionValue:
    """A part of an exception: a text, or a list of values."""

    text: str = ""
    items: tuple["ExceptionValue", ...] | None = None

    @property
    def is_list(self) -> bool:
        """True if it is written as a list."""
        return self.items is not None

    @property
    def is_given(self) -> bool:
        """True if it is not empty."""
        return bool(self.text or self.items)


@dataclass(slots=True)
class ExceptionDefinition:
    """An exception of a rule: the values for which it does not match."""

    name: str
    spot: ItemLocation
    fields: ExceptionValue
    comps: ExceptionValue
    values: list[tuple[ExceptionValue, Piece]]


@dataclass(slots=True)
class ListDefinition:
    """A list; `index` is the position of its first definition, `visibility` that of its last."""

    name: str
    spot: ItemLocation
    items: list[ScalarNode]
    index: int = 0
    visibility: int = 0


@dataclass(slots=True)
class MacroDefinition:
    """A macro; `index` and `visibility` are as for lists."""

    name: str
    spot: ItemLocation
    condition: list[Piece]
    extensions: Mapping[str, Node] = field(default_factory=dict)
    index: int = 0
    visibility: int = 0


@dataclass(slots=True)
class RuleDefinition:
    """A rule."""

    name: str
    spot: ItemLocation
    condition: list[Piece]
    output: list[Piece]
    description: str
    priority: Priority
    source: str
    tags: set[str]
    exceptions: list[ExceptionDefinition]
    enabled: bool = True
    warn_evttypes: bool = True
    skip_if_unknown_filter: bool = False
    capture: bool = False
    capture_duration: int = 0
    unknown_source: bool = False
    response: str = ""
    actions: list[ScalarNode] = field(default_factory=list)
    extensions: Mapping[str, Node] = field(default_factory=dict)
    python: PythonFunction | None = None


@dataclass(slots=True)
class RuleUpdate:
    """The parts of a rule that an item appends to or replaces."""

    name: str
    spot: ItemLocation
    source: str = ""
    parts: dict[str, Any] = field(default_factory=dict)
    """By attribute of RuleDefinition, or ``suppress``; a text is a Piece where the rule has several."""


@dataclass(frozen=True, slots=True)
class PluginRequirement:
    """A plugin that satisfies a requirement; plugins are not supported, so it is only reported."""

    name: str
    version: str


def extensions_of(kind: str, item: MappingNode) -> dict[str, Node]:
    """Return the keys of an item (macro or rule) that only Lanner supports, with their values."""
    found = {key: item.get(key) for key in EXTENSION_KEYS[kind]}
    return {key: node for key, node in found.items() if node is not None}


def scalar_piece(scalar: ScalarNode) -> Piece:
    """Return a scalar as a piece of a condition or an output."""
    return Piece(scalar.value, scalar)


def any_leg(item: MappingNode) -> list[Piece]:
    """Return the condition of a macro that lists its legs instead: the disjunction of the legs and `until`.

    If the legs are rules, which are known later, it is a placeholder. It is empty if the macro has its own condition
    or no valid legs.
    """
    correlation = item.get("correlation")
    if item.get("condition") is not None or not isinstance(correlation, MappingNode):
        return []
    if (rules := correlation.get("rules")) is not None:
        return [Piece(PLACEHOLDER, rules)]
    legs, until = correlation.get("macros"), correlation.get("until")
    if not isinstance(legs, SequenceNode):
        return []
    pieces: list[Piece] = []
    for leg in (*legs.items, *(() if until is None else (until,))):
        if not isinstance(leg, ScalarNode) or not IDENTIFIER.fullmatch(leg.value):
            return []
        pieces += [Piece(" or ", legs), Piece(leg.value, leg)]
    return pieces[1:]


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
