"""The transformers: tolower, toupper, b64, basename, len, join, concat, getopt.

A transformer of a missing value is missing. Those of one text apply to each element of a list.
Source: libsinsp sinsp_filter_transformers and sinsp_filtercheck_multivalue_transformer.
"""

import base64
import binascii
from collections.abc import Callable, Iterator, Mapping
from itertools import pairwise
from typing import Any

from processor.compiler.operands import byte_length
from processor.compiler.operators import lower, upper

Value = Any


def tolower(value: Value) -> Value:
    """Return a text or the texts of a list with ASCII letters in lower case."""
    return _each(lower, value)


def toupper(value: Value) -> Value:
    """Return a text or the texts of a list with ASCII letters in upper case."""
    return _each(upper, value)


def b64(value: Value) -> Value:
    """Decode base64, with or without padding; a value that is not base64 is missing.

    Like every text in a condition, the result ends at the first NUL.
    """
    return _each(lambda text: _decoded(text, "\0"), value)


def b64_bytes(value: str | None) -> str | None:
    """Decode base64 in a byte buffer; NULs are part of the result."""
    return None if value is None else _decoded(value.rstrip("\0"), None)


def basename(value: Value) -> Value:
    """Return the text after the last slash, of each element if it is a list."""
    return _each(lambda text: text.rpartition("/")[2], value)


def _each(function: Callable[[str], str | None], value: Value) -> Value:
    if not isinstance(value, tuple):
        return None if value is None else function(value)
    results = tuple(map(function, value))
    return None if not results or None in results else results


def _decoded(text: str, end: str | None) -> str | None:
    digits = text.removesuffix("=")
    digits = digits.removesuffix("=") if len(digits) < len(text) else digits
    try:
        encoded = digits.encode("ascii")
        decoded = base64.b64decode(encoded + b"=" * (-len(encoded) % 4), validate=True)
    except (binascii.Error, ValueError):
        return None
    # Bits beyond the last whole byte must be zero.
    if base64.b64encode(decoded).rstrip(b"=") != encoded:
        return None
    result = decoded.decode("utf-8", "surrogateescape")
    return result if end is None else result.partition(end)[0]


def length(value: Value) -> int | None:
    """Return the number of bytes of a text or of elements of a list; an empty list is missing."""
    if isinstance(value, tuple):
        return len(value) or None
    return None if value is None else byte_length(value)


def as_text(value: Value) -> str:
    """Return a value as it appears in output."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, tuple):
        return f"({','.join(as_text(item) for item in value)})"
    return str(value)


def join(separator: str | None, items: tuple[Value, ...]) -> str | None:
    """Join values with a separator; missing if any of them is."""
    words = _words(items)
    return None if separator is None or words is None else separator.join(words)


def concat(*items: str | None) -> str | None:
    """Concatenate texts; missing if any of them is."""
    return None if any(item is None for item in items) else "".join(item for item in items if item is not None)


def _words(arguments: tuple[Value, ...]) -> list[str] | None:
    words: list[str] = []
    for argument in arguments:
        if argument is None:
            return None
        words.extend(as_text(part) for part in (argument if isinstance(argument, tuple) else (argument,)))
    return words


def _options(words: list[str], known: str) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Yield each option's name and what it adds to the result; the name of an unknown option is empty."""
    names = set(known) - {":"}
    with_value = {name for name, mark in pairwise(known) if mark == ":"}
    index = 0
    while index < len(words):
        word = words[index]
        index += 1
        if word == "--" or len(word) < 2 or word[0] != "-":
            return
        if word[1] == "-":
            continue
        for offset, name in enumerate(word[1:], 1):
            if name not in names:
                yield "", ("?",)
            elif name not in with_value:
                yield name, (name,)
            else:
                rest = word[offset + 1 :]
                if rest or index < len(words):
                    yield name, (name, rest or words[index])
                    index += not rest
                else:
                    yield name, ("",)
                break


def getopt(arguments: tuple[Value, ...], known: str | None) -> tuple[str, ...] | None:
    """Return the names of the options found in words, each followed by its value if it has one.

    Parsing ends at ``--`` and at the first word that is not an option; words that begin with ``--`` are skipped.
    An unknown option becomes ``?``; one that lacks its value becomes "". The result is missing if an argument is.
    known: the names, each one character, followed by a colon if it takes a value.
    """
    words = _words(arguments)
    if words is None or known is None:
        return None
    return tuple(text for _, texts in _options(words, known) for text in texts)


def getopt_value(arguments: tuple[Value, ...], known: str | None, name: str) -> str | None:
    """Return the value of an option's last occurrence, or its name if it takes no value."""
    words = _words(arguments)
    if words is None or known is None:
        return None
    return dict(_options(words, known)).get(name, (None,))[-1]


FUNCTIONS: Mapping[str, Callable[..., Any]] = {
    "tolower": tolower,
    "toupper": toupper,
    "b64": b64,
    "b64_bytes": b64_bytes,
    "basename": basename,
    "len": length,
    "join": join,
    "concat": concat,
    "getopt": getopt,
    "getopt_value": getopt_value,
}
