"""Items of rule files as they are gathered: redefined, appended to and overridden until all files are read."""

from collections.abc import Mapping as MappingType
from dataclasses import dataclass, field

from processor.language.tokens import IDENTIFIER
from processor.loading.priority import Priority
from processor.loading.yaml.nodes import Mapping, Node, Scalar, Sequence, SourceFile
from processor.loading.yaml.tracing import Piece

EXTENSION_KEYS = {"macro": ("correlation",), "rule": ("suppress",)}
"""Keys that only Lanner knows; they are kept as they stand for those who give them their meaning."""


@dataclass(frozen=True, slots=True)
class ItemLocation:
    """An item in a file: what a problem without a better place is about."""

    file: SourceFile
    node: Node
    type: str
    name: str = ""


@dataclass(frozen=True, slots=True)
class Extension:
    """The value of a key that only Lanner knows, and the file that its positions are in."""

    value: Node
    file: SourceFile = field(compare=False)


@dataclass(frozen=True, slots=True)
class ExceptionValue:
    """A part of an exception: a text, or a list of entries."""

    text: str = ""
    items: tuple["ExceptionValue", ...] | None = None

    @property
    def is_list(self) -> bool:
        """Whether it is written as a list."""
        return self.items is not None

    @property
    def says_something(self) -> bool:
        """Whether it was given at all."""
        return bool(self.text or self.items)


@dataclass(slots=True)
class ExceptionDefinition:
    """What a rule is not to fire for."""

    name: str
    spot: ItemLocation
    fields: ExceptionValue
    comps: ExceptionValue
    values: list[tuple[ExceptionValue, Piece]]


@dataclass(slots=True)
class ListDefinition:
    """A list; its index is that of the first definition, its visibility that of the last."""

    name: str
    spot: ItemLocation
    items: list[str]
    index: int = 0
    visibility: int = 0


@dataclass(slots=True)
class MacroDefinition:
    """A macro; index and visibility as a list's."""

    name: str
    spot: ItemLocation
    condition: list[Piece]
    extensions: MappingType[str, Extension] = field(default_factory=dict)
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
    extensions: MappingType[str, Extension] = field(default_factory=dict)


@dataclass(slots=True)
class RuleUpdate:
    """What an item appends to a rule, or replaces of it; None is left as it is."""

    name: str
    spot: ItemLocation
    source: str = ""
    condition: Piece | None = None
    output: Piece | None = None
    description: str | None = None
    priority: Priority | None = None
    tags: set[str] | None = None
    exceptions: list[ExceptionDefinition] | None = None
    enabled: bool | None = None
    warn_evttypes: bool | None = None
    skip_if_unknown_filter: bool | None = None
    capture: bool | None = None
    capture_duration: int | None = None
    suppress: Extension | None = None

    @property
    def says_something(self) -> bool:
        """Whether there is anything to append or replace."""
        parts = (
            self.condition,
            self.output,
            self.description,
            self.priority,
            self.tags,
            self.exceptions,
            self.enabled,
            self.warn_evttypes,
            self.skip_if_unknown_filter,
            self.capture,
            self.capture_duration,
            self.suppress,
        )
        return any(part is not None for part in parts)


@dataclass(frozen=True, slots=True)
class PluginRequirement:
    """One plugin that would do; plugins are not supported, so it is only told."""

    name: str
    version: str


def kept_extensions(kind: str, item: Mapping, file: SourceFile) -> dict[str, Extension]:
    """Give the keys of an item that only Lanner knows, with their positions.

    Args:
        kind: macro or rule.
        item: the item.
        file: the file it is in.
    """
    found = {key: item.get(key) for key in EXTENSION_KEYS[kind]}
    return {key: Extension(node, file) for key, node in found.items() if node is not None}


def scalar_piece(file: SourceFile, scalar: Scalar) -> Piece:
    """Make a stretch of a condition or an output of a scalar."""
    return Piece(scalar.value, file, scalar)


def any_leg(file: SourceFile, item: Mapping) -> list[Piece]:
    """Give the condition of a macro that names its legs instead: an event that any of them is true for.

    Args:
        file: the file.
        item: the macro.

    Returns:
        Nothing where it has a condition, or no legs that could stand in one.
    """
    correlation = item.get("correlation")
    legs = correlation.get("macros") if isinstance(correlation, Mapping) else None
    if item.get("condition") is not None or not isinstance(legs, Sequence):
        return []
    pieces: list[Piece] = []
    for leg in legs.items:
        if not isinstance(leg, Scalar) or not IDENTIFIER.fullmatch(leg.value):
            return []
        pieces += [Piece(" or ", file, legs), Piece(leg.value, file, leg)]
    return pieces[1:]
