"""Access to values of a JSON document by path, and their texts."""

import json
from collections.abc import Iterable, Iterator
from typing import Any

ABSENT = object()
"""No value at a path; None is JSON's null."""


def value_at(document: Any, keys: Iterable[str]) -> Any:
    """Return the value at a path of names of members and positions in arrays; ABSENT if there is none."""
    value = document
    for key in keys:
        if isinstance(value, dict):
            value = value.get(key, ABSENT)
        elif isinstance(value, list) and key.isascii() and key.isdigit() and int(key) < len(value):
            value = value[int(key)]
        else:
            return ABSENT
    return value


def pointer_keys(pointer: str) -> tuple[str, ...]:
    """Return the path that a JSON pointer (RFC 6901) describes; as in Falco, it may lack the first slash."""
    parts = pointer.removeprefix("/").split("/")
    return tuple(part.replace("~1", "/").replace("~0", "~") for part in parts)


def values_below(document: Any, keys: tuple[str, ...], index: int | None = None) -> Iterator[Any]:
    """Yield the values at a path of names of members, each of which applies to all elements of an array.

    index: take only this element of each array on the path.
    """
    value = document
    for position, key in enumerate(keys):
        if isinstance(value, list):
            for element in value if index is None else value[index : index + 1]:
                yield from values_below(element, keys[position:], index)
            return
        if not isinstance(value, dict) or key not in value:
            return
        value = value[key]
    yield value


def as_text(value: Any) -> str | None:
    """Return a value as text: strings as they are, others as compact JSON; None for ABSENT."""
    if isinstance(value, str):
        return value
    if value is ABSENT:
        return None
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def as_texts(values: Iterable[Any]) -> tuple[str, ...]:
    """Return the texts of values."""
    return tuple(text for value in values if (text := as_text(value)) is not None)


def elements(value: Any) -> list[Any]:
    """Return the elements of an array; an empty list for any other value."""
    return value if isinstance(value, list) else []
