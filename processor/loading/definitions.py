"""Items of rule files while they are collected; they are mutable until all files are read."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from foundation.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode
from foundation.yaml.text import Piece
from processor.language.tokens import IDENTIFIER
from processor.rules.rule import PythonFunction
from schemas.catalog.priorities import Priority

EXTENSION_KEYS = {"macro": ("correlation",), "rule": ("suppress", "response", "actions")}
"""Keys that only Lanner supports; their values are stored unparsed for the modules that interpret them."""


PLACEHOLDER = "evt.num >= 0"
"""The text of a macro whose legs are rules."""


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
