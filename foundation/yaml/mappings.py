"""Reads values from a YAML file's mappings, and reports errors with their locations.

Every scalar is text, as in rule files: `no`, `0644` and `12:30` are what the author wrote. A `Key` contains how a value
is read and, for tests that are generated from alerts, the field of an event that it states.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from foundation.errors import LannerError
from foundation.quantities import UNITS, parse_sum
from foundation.text import did_you_mean
from foundation.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode, is_null

T = TypeVar("T")
D = TypeVar("D")
Parse = Callable[[Node, str], T]
"""Takes a value and the name of its key; raises BadMapping."""
Fields = Mapping[str, Any]
"""The fields of an event that are not missing."""

_TRUTHS = {"true": True, "yes": True, "false": False, "no": False}
_NUMBER = re.compile(r"-?(?:0[xX][0-9a-fA-F]+|\d+)")
_INT64 = range(-(2**63), 2**64)
MAX_DURATION = 366 * UNITS["d"]
"""Nanoseconds; times of events must fit 64 bits."""


class BadMapping(LannerError):
    """An error in a mapping or a value of it; other items are still read."""

    def __init__(self, message: str, node: Node, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.node = node
        self.hint = hint


def text(node: Node, key: str) -> str:
    """Return a scalar's text. Like all parsers, it raises BadMapping."""
    if not isinstance(node, ScalarNode) or node.is_null:
        raise BadMapping(f"'{key}' takes one text", node)
    return node.value


def text_or(default: str) -> Parse[str]:
    """Return the parser of a text that has a default if it is empty."""
    return lambda node, key: text(node, key) or default


def texts(node: Node, key: str) -> tuple[str, ...]:
    """Return a list of texts; one text is a list of one."""
    return tuple(text(item, key) for item in node.items) if isinstance(node, SequenceNode) else (text(node, key),)


def pairs(parse: Parse[T]) -> Parse[dict[str, T]]:
    """Return the parser of a mapping whose keys are free, and whose values `parse` parses."""
    return lambda node, key: {name: parse(value, name) for name, value in MappingReader(node, key).pairs().items()}


def one_of(what: str, names: Iterable[str], *, guesses: bool = False) -> Parse[str]:
    """Return the parser of one of several names; an error lists them, or suggests the nearest if `guesses`."""

    def parse(node: Node, key: str) -> str:
        name = text(node, key)
        if name not in names:
            hint = (guesses and did_you_mean(name, names)) or f"known are {', '.join(names)}"
            raise BadMapping(f"unknown {what} '{name}'", node, hint)
        return name

    return parse


def truth(node: Node, key: str) -> bool:
    """Return a boolean."""
    value = _TRUTHS.get(text(node, key).lower())
    if value is None:
        raise BadMapping(f"'{key}' takes true or false", node)
    return value


def number(node: Node, key: str) -> int:
    """Parse an integer, decimal or 0x."""
    digits = text(node, key)
    if not _NUMBER.fullmatch(digits) or len(digits) > 25:
        raise BadMapping(f"'{key}' takes an integer, not '{digits}'", node)
    value = int(digits, 16) if "x" in digits.lower() else int(digits)
    if value not in _INT64:
        raise BadMapping(f"'{key}' takes a number of 64 bits", node)
    return value


def small(most: int = 2**31 - 1) -> Parse[int]:
    """Return the parser of an integer from 0 to `most`."""

    def parse(node: Node, key: str) -> int:
        value = number(node, key)
        if not 0 <= value <= most:
            raise BadMapping(f"'{key}' takes a number from 0 to {most}", node)
        return value

    return parse


def octal(node: Node, key: str) -> int:
    """Parse the octal digits of a file's mode."""
    try:
        value = int(text(node, key), 8)
    except ValueError:
        raise BadMapping(f"'{key}' takes octal digits, as in 0755", node) from None
    if not 0 <= value <= 0o177777:
        raise BadMapping(f"'{key}' has too many digits for a mode", node)
    return value


def duration(node: Node, key: str) -> int:
    """Parse a duration such as `150ms`, `2s` or `1m 30s`; return nanoseconds."""
    given = text(node, key).strip()
    value = parse_sum(given)
    if value is None:
        raise BadMapping(f"'{key}' takes a duration such as 150ms, 2s or 1m30s, not '{given}'", node)
    if value > MAX_DURATION:
        raise BadMapping(f"'{key}' is longer than a year", node)
    return value


@dataclass(frozen=True, slots=True)
class Key(Generic[T]):
    """One key of a mapping."""

    name: str
    parse: Parse[T]
    field: str = ""
    """The field of an event that it states; empty if a generated test never states it."""
    usual: Any = None
    """The value of that field that need not be stated."""
    names: tuple[str, ...] = ()
    """Its spellings, if it has several; the first is named in errors."""


def written(keys: Iterable[Key[Any]], fields: Fields) -> dict[str, Any]:
    """Return the mapping that states these fields."""
    return {key.name: value for key in keys if (value := fields.get(key.field)) not in (None, key.usual)}


class MappingReader:
    """A mapping with its merge keys (`<<`) applied; records which keys were read."""

    def __init__(self, node: Node, what: str) -> None:
        """Take a mapping; it is named `what` in errors. Raises BadMapping."""
        if not isinstance(node, MappingNode):
            raise BadMapping(f"{what} is a mapping, as in '{{name: value}}'", node)
        self.node = node
        self.what = what
        self._pairs = _merged(node, 0)
        self._read_keys: set[str] = set()

    def __contains__(self, key: str) -> bool:
        return key in self._pairs and not is_null(self._pairs[key][1])

    def get(self, *keys: str) -> Node | None:
        """Return the value under the first of these spellings; None if all are absent or null."""
        self._read_keys.update(keys)
        return next((self._pairs[key][1] for key in keys if key in self), None)

    def need(self, key: str, lacks: str, add: str) -> Node:
        """Return a value; if it is absent, raise BadMapping with what is missing and what to add."""
        if (node := self.get(key)) is None:
            raise BadMapping(lacks, self.node, add)
        return node

    def is_null(self, key: str) -> bool:
        """Return whether a key is present with the value null."""
        self._read_keys.add(key)
        return key in self._pairs and is_null(self._pairs[key][1])

    def value(self, parse: Parse[T], default: D, *keys: str) -> T | D:
        """Return the parsed value under one of these spellings; the first is named in errors. Raises BadMapping."""
        node = self.get(*keys)
        return default if node is None else parse(node, keys[0])

    def read(self, key: Key[T], default: D) -> T | D:
        """Return the parsed value of a key; the default if it is absent or null. Raises BadMapping."""
        return self.value(key.parse, default, *key.names or (key.name,))

    def values(self, keys: Iterable[Key[Any]]) -> dict[str, Any]:
        """Return the parsed values of the keys that are neither absent nor null. Raises BadMapping."""
        nodes = ((key, self.get(key.name)) for key in keys)
        return {key.name: key.parse(node, key.name) for key, node in nodes if node is not None}

    def pairs(self) -> dict[str, Node]:
        """Return all keys with their values; all count as read."""
        self._read_keys.update(self._pairs)
        return {key: value for key, (_, value) in self._pairs.items()}

    def unknown(self) -> list[BadMapping]:
        """Return errors for the keys that were not read, each with the nearest valid key."""
        known = self._read_keys
        return [
            BadMapping(f"{self.what} has no key '{key}'", name, did_you_mean(key, sorted(known)) or _listing(known))
            for key, (name, _) in self._pairs.items()
            if key not in known
        ]

    def refuse_unknown(self) -> None:
        """Raise BadMapping for the first key that was not read."""
        for wrong in self.unknown():
            raise wrong


def _listing(known: set[str]) -> str:
    return f"it may have: {', '.join(sorted(known))}" if len(known) <= 40 else ""


def _merged(node: MappingNode, depth: int) -> dict[str, tuple[Node, Node]]:
    own: dict[str, tuple[Node, Node]] = {}
    merged: dict[str, tuple[Node, Node]] = {}
    for name, value in node.pairs:
        if not isinstance(name, ScalarNode):
            raise BadMapping("a key is one text", name)
        if name.value == "<<" and not name.style:
            sources = value.items if isinstance(value, SequenceNode) else (value,)
            for source in sources:
                if not isinstance(source, MappingNode) or depth > 20:
                    raise BadMapping("'<<' takes a mapping named by an anchor, as in '<<: *base'", value)
                for key, pair in _merged(source, depth + 1).items():
                    merged.setdefault(key, pair)
        elif name.value in own:
            raise BadMapping(f"duplicate key '{name.value}'", name)
        else:
            own[name.value] = (name, value)
    return {**merged, **own}
