"""The transformers: tolower, toupper, b64, basename, len, join, concat, getopt.

A transformer of a missing value is missing. tolower and toupper apply to each element of a list.
Source: libsinsp sinsp_filter_transformers and sinsp_filtercheck_multivalue_transformer.
"""

import base64
import binascii
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from processor.compiler.values.literals import byte_length
from processor.compiler.values.operators import lower, upper

Value = Any


def tolower(value: Value) -> Value:
    """Return a text or the texts of a list with ASCII letters in lower case."""
    if value is None:
        return None
    return tuple(lower(item) for item in value) if isinstance(value, tuple) else lower(value)


def toupper(value: Value) -> Value:
    """Return a text or the texts of a list with ASCII letters in upper case."""
    if value is None:
        return None
    return tuple(upper(item) for item in value) if isinstance(value, tuple) else upper(value)


def b64(value: str | None) -> str | None:
    """Decode base64; invalid base64 is missing."""
    if value is None:
        return None
    try:
        return base64.b64decode(value.encode("ascii"), validate=True).decode("utf-8", "surrogateescape")
    except (binascii.Error, ValueError, UnicodeEncodeError):
        return None


def basename(value: str | None) -> str | None:
    """Return the text after the last slash."""
    return None if value is None else value.rpartition("/")[2]


def length(value: Value) -> int | None:
    """Return the number of bytes of a text or of elements of a list."""
    if value is None:
        return None
    return len(value) if isinstance(value, tuple) else byte_length(value)


def as_text(value: Value) -> str:
    """Return a value as it appears in output."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, tuple):
        return f"({','.join(as_text(item) for item in value)})"
    return str(value)


def join(separator: str | None, items: tuple[Value, ...]) -> str | None:
    """Join values with a separator; missing if any of them is."""
    flat: list[str] = []
    for item in items:
        if item is None:
            return None
        flat.extend(as_text(part) for part in (item if isinstance(item, tuple) else (item,)))
    return None if separator is None else separator.join(flat)


def concat(*items: str | None) -> str | None:
    """Concatenate texts; missing if any of them is."""
    return None if any(item is None for item in items) else "".join(item for item in items if item is not None)


@dataclass(frozen=True, slots=True)
class _Option:
    letter: str
    value: str | None
    """None if the option takes no value; "" if the value is missing."""
    is_missing: bool = False


def _options(arguments: tuple[Value, ...], known: str) -> list[_Option]:
    known = known.lstrip(":+-")
    takes = {letter: known[index + 1 : index + 2] == ":" for index, letter in enumerate(known) if letter != ":"}
    words: list[str] = []
    for argument in arguments:
        words.extend(argument if isinstance(argument, tuple) else () if argument is None else (argument,))
    found: list[_Option] = []
    index = 0
    while index < len(words):
        word = words[index]
        index += 1
        if word == "--":
            break
        if len(word) < 2 or word[0] != "-":
            continue
        for offset, letter in enumerate(word[1:], 1):
            if not takes.get(letter, False):
                if letter in takes:
                    found.append(_Option(letter, None))
                continue
            rest = word[offset + 1 :]
            if rest or index < len(words):
                found.append(_Option(letter, rest or words[index]))
                index += not rest
            else:
                found.append(_Option(letter, "", is_missing=True))
            break
    return found


def getopt(arguments: tuple[Value, ...], known: str) -> tuple[str, ...]:
    """Parse options as the C library does; return the letters found and their values, in order.

    Unknown options and options without a required value are omitted.

    Args:
        arguments: words, or tuples of words.
        known: the letters, each followed by a colon if it takes a value.
    """
    result: list[str] = []
    for option in _options(arguments, known):
        if option.is_missing:
            continue
        result.append(option.letter)
        if option.value is not None:
            result.append(option.value)
    return tuple(result)


def getopt_value(arguments: tuple[Value, ...], known: str, letter: str) -> str | None:
    """Return the value of an option's last occurrence, or its letter if it takes no value."""
    result = None
    for option in _options(arguments, known):
        if option.letter == letter:
            result = letter if option.value is None else option.value
    return result


FUNCTIONS: Mapping[str, Callable[..., Any]] = {
    "tolower": tolower,
    "toupper": toupper,
    "b64": b64,
    "basename": basename,
    "len": length,
    "join": join,
    "concat": concat,
    "getopt": getopt,
    "getopt_value": getopt_value,
}
