"""Reads values from a test file's mappings, and reports errors with their locations.

Every scalar is text, as in rule files: `no`, `0644` and `12:30` are what the author wrote.
"""

import re
from collections.abc import Iterable

from processor.loading.problems.hints import did_you_mean
from processor.loading.yaml.nodes import Mapping, Node, Scalar, Sequence, is_null
from schemas.errors import LannerError
from schemas.text.durations import UNITS, parse_sum

_TRUTHS = {"true": True, "yes": True, "false": False, "no": False}
_NUMBER = re.compile(r"-?(?:0[xX][0-9a-fA-F]+|\d+)")
_INT64 = range(-(2**63), 2**64)
MAX_DURATION = 366 * UNITS["d"]
"""Nanoseconds; times of events must fit 64 bits."""


class TestFileError(LannerError):
    """An error in a test file; other items are still read."""

    def __init__(self, message: str, node: Node, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.node = node
        self.hint = hint


def text_of(node: Node, key: str) -> str:
    """Return a scalar's text. Raises TestFileError."""
    if not isinstance(node, Scalar) or node.is_null:
        raise TestFileError(f"'{key}' takes one text", node)
    return node.value


def number_of(node: Node, key: str) -> int:
    """Parse an integer, decimal or 0x. Raises TestFileError."""
    text = text_of(node, key)
    if not _NUMBER.fullmatch(text) or len(text) > 25:
        raise TestFileError(f"'{key}' takes an integer, not '{text}'", node)
    number = int(text, 16) if "x" in text.lower() else int(text)
    if number not in _INT64:
        raise TestFileError(f"'{key}' takes a number of 64 bits", node)
    return number


def duration_of(node: Node, key: str) -> int:
    """Parse a duration such as `150ms`, `2s` or `1m 30s`; return nanoseconds. Raises TestFileError."""
    text = text_of(node, key).strip()
    duration = parse_sum(text)
    if duration is None:
        raise TestFileError(f"'{key}' takes a duration such as 150ms, 2s or 1m30s, not '{text}'", node)
    if duration > MAX_DURATION:
        raise TestFileError(f"'{key}' is longer than a year", node)
    return duration


def texts_of(node: Node, key: str) -> tuple[str, ...]:
    """Return a list of texts; one text is a list of one. Raises TestFileError."""
    if isinstance(node, Sequence):
        return tuple(text_of(item, key) for item in node.items)
    return (text_of(node, key),)


class MappingReader:
    """A mapping with its merge keys (`<<`) applied; records which keys were read."""

    def __init__(self, node: Node, what: str) -> None:
        """Take a mapping.

        Args:
            node: the value.
            what: what it should be, for the message.

        Raises:
            TestFileError: It is not a mapping, or has a duplicate key.
        """
        if not isinstance(node, Mapping):
            raise TestFileError(f"{what} is a mapping, as in '{{name: value}}'", node)
        self.node = node
        self.what = what
        self._pairs = _merged(node, 0)
        self._asked: set[str] = set()

    def __contains__(self, key: str) -> bool:
        return key in self._pairs and not is_null(self._pairs[key][1])

    def keys(self) -> set[str]:
        """Return the keys that are present and not null."""
        return {key for key in self._pairs if key in self}

    def get(self, *keys: str) -> Node | None:
        """Return the value under the first of these spellings; None if all are absent or null."""
        self._asked.update(keys)
        return next((self._pairs[key][1] for key in keys if key in self), None)

    def need(self, *keys: str, lacks: str, add: str) -> Node:
        """Return the value under one of these spellings.

        Args:
            keys: spellings of one key.
            lacks: the message if all are absent.
            add: the remedy.

        Raises:
            TestFileError: It is absent.
        """
        node = self.get(*keys)
        if node is None:
            raise TestFileError(lacks, self.node, add)
        return node

    def is_null(self, key: str) -> bool:
        """Return whether a key is present with the value null."""
        self._asked.add(key)
        return key in self._pairs and is_null(self._pairs[key][1])

    def text(self, key: str, default: str | None = None) -> str | None:
        """Return a text, or the default. Raises TestFileError."""
        node = self.get(key)
        return default if node is None else text_of(node, key)

    def number(self, key: str) -> int | None:
        """Return an integer, or None. Raises TestFileError."""
        node = self.get(key)
        return None if node is None else number_of(node, key)

    def small(self, key: str, most: int = 2**31 - 1) -> int | None:
        """Return an integer from 0 to ``most``, or None. Raises TestFileError."""
        node = self.get(key)
        if node is None:
            return None
        number = number_of(node, key)
        if not 0 <= number <= most:
            raise TestFileError(f"'{key}' takes a number from 0 to {most}", node)
        return number

    def duration(self, key: str, default: int) -> int:
        """Return a duration, nanoseconds. Raises TestFileError."""
        node = self.get(key)
        return default if node is None else duration_of(node, key)

    def truth(self, key: str, *, default: bool = False) -> bool:
        """Return a boolean. Raises TestFileError."""
        node = self.get(key)
        if node is None:
            return default
        value = _TRUTHS.get(text_of(node, key).lower())
        if value is None:
            raise TestFileError(f"'{key}' takes true or false", node)
        return value

    def texts(self, key: str) -> tuple[str, ...]:
        """Return a list of texts, empty if absent. Raises TestFileError."""
        node = self.get(key)
        return () if node is None else texts_of(node, key)

    def pairs(self) -> dict[str, Node]:
        """Return all keys with their values; all count as read."""
        self._asked.update(self._pairs)
        return {key: value for key, (_, value) in self._pairs.items()}

    def unknown(self, also: Iterable[str] = ()) -> list[TestFileError]:
        """Return errors for the keys that were not read, each with the nearest valid key.

        Args:
            also: more keys that are valid here.
        """
        known = self._asked | set(also)
        return [
            TestFileError(f"{self.what} has no key '{key}'", name, did_you_mean(key, sorted(known)) or _listing(known))
            for key, (name, _) in self._pairs.items()
            if key not in known
        ]


def _listing(known: set[str]) -> str:
    return f"it may have: {', '.join(sorted(known))}" if len(known) <= 40 else ""


def _merged(node: Mapping, depth: int) -> dict[str, tuple[Node, Node]]:
    own: dict[str, tuple[Node, Node]] = {}
    merged: dict[str, tuple[Node, Node]] = {}
    for name, value in node.pairs:
        if not isinstance(name, Scalar):
            raise TestFileError("a key is one text", name)
        if name.value == "<<" and not name.style:
            sources = value.items if isinstance(value, Sequence) else (value,)
            for source in sources:
                if not isinstance(source, Mapping) or depth > 20:
                    raise TestFileError("'<<' takes a mapping named by an anchor, as in '<<: *base'", value)
                for key, pair in _merged(source, depth + 1).items():
                    merged.setdefault(key, pair)
        elif name.value in own:
            raise TestFileError(f"duplicate key '{name.value}'", name)
        else:
            own[name.value] = (name, value)
    return {**merged, **own}
