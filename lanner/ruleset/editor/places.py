"""Finds where in an item of a rule file a position is, by indentation: the file is seldom valid while it is typed."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lanner.ruleset.editor.schema import rule_schema
from processor.loading.reader import KINDS
from schemas.catalog.fields import SOURCES
from schemas.catalog.priorities import Priority

_KEY = re.compile(r"(?P<indent>\s*(?:-\s+)?)(?P<key>[A-Za-z][\w-]*)\s*:(?:\s+(?P<rest>.*))?\Z")
_FLOW = re.compile(r"(?:.*[{,]|\A)\s*(?P<key>[A-Za-z][\w-]*)\s*:\s*[^{},]*\Z", re.DOTALL)
_NEW = re.compile(r"(?P<indent>\s*(?:-\s+)?)[\w-]*\Z")
_ONE_OF: Mapping[tuple[str, ...], Sequence[str]] = {
    ("priority",): [str(priority) for priority in Priority],
    ("source",): sorted(SOURCES),
}


@dataclass(frozen=True, slots=True)
class Place:
    """A position in an item."""

    kind: str
    """rule, macro or list; empty outside of items, and in one that doesn't have its key yet."""
    path: tuple[str, ...]
    """The keys that lead to it; for a key that is being written, those of the mapping that has it."""
    is_key: bool
    """True if a key can be written there."""
    present: frozenset[str] = frozenset()
    """The keys that the item has already."""


def place_at(lines: Sequence[str], line: int, before: str) -> Place:
    """Return the place of a position. before: the text of its line before it."""
    is_key, path, column = False, list[str](), 0
    if (found := _KEY.match(before)) is not None:
        path, column = [found["key"]], len(found["indent"])
        path += _in_flow(found["rest"] or "")
        is_key = _is_new_in_flow(found["rest"] or "")
    elif (new := _NEW.match(before)) is not None:
        is_key, column = True, len(new["indent"])
    else:
        column = len(before) - len(before.lstrip(" -"))
    start = next((n for n in range(line - 1, -1, -1) if lines[n].startswith("-")), 0) if before[:1] != "-" else line
    for number in range(line - 1, start - 1, -1):
        if (found := _KEY.match(lines[number])) is None or len(found["indent"]) >= column:
            continue
        path.insert(0, found["key"])
        column = len(found["indent"])
        # Below a key with a text, everything belongs to the text.
        is_key = is_key and not (found["rest"] or "").strip()
    keys = frozenset(_keys_of_item(lines[start:], column))
    kind = next((kind for kind in KINDS if kind in keys), "") if column else ""
    if path and path[0] in KINDS and len(path) > 1:
        path = path[1:]
    return Place(kind, tuple(path), is_key, keys)


def _in_flow(rest: str) -> Iterator[str]:
    """Yield the keys of flow mappings that a text has opened and not closed."""
    opened: list[str] = []
    for index, letter in enumerate(rest):
        if letter == "{":
            opened.append(rest[index + 1 :])
        elif letter == "}" and opened:
            opened.pop()
    for text in opened:
        found = _FLOW.match(text.rpartition("{")[2] if text is not opened[-1] else text)
        if found is not None:
            yield found["key"]


def _is_new_in_flow(rest: str) -> bool:
    return rest.count("{") > rest.count("}") and re.search(r"[{,]\s*[\w-]*\Z", rest) is not None


def _keys_of_item(lines: Sequence[str], column: int) -> Iterator[str]:
    """Yield the keys of the item that begins in the first line. column: that of its keys."""
    for number, text in enumerate(lines):
        if number and text.startswith("-"):
            return
        found = _KEY.match(text)
        if found is not None and len(found["indent"]) <= max(column, 2):
            yield found["key"]


def choices(place: Place) -> list[tuple[str, str]]:
    """Return the keys or values that can be written at a place, each with its documentation; empty for free text."""
    if not place.kind:
        return [(f"{kind}:", f"a {kind}") for kind in KINDS] if place.is_key and not place.path else []
    node: Any = next(each for each in rule_schema()["items"]["anyOf"] if place.kind in each["required"])
    for key in place.path:
        node = _inner(node).get("properties", {}).get(key, {})
    if place.is_key:
        properties = _inner(node).get("properties", {})
        taken = place.present if not place.path else ()
        return [(f"{key}:", each.get("description", "")) for key, each in properties.items() if key not in taken]
    values = _ONE_OF.get(place.path) or node.get("enum") or (["true", "false"] if node.get("type") == "boolean" else [])
    return [(str(value), node.get("description", "")) for value in values]


def _inner(node: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the schema of a list's items; a mapping stays itself."""
    items: Mapping[str, Any] = node.get("items", node)
    return items
