"""How the value of a mapped field is found in a document: paths, choices between them, and changes of the result.

A mapping file is trusted, a document is not: whatever it contains, a recipe returns values or nothing.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from foundation.errors import LannerError
from foundation.text import canonical_address
from processor.fields.json.documents import Reader, Value
from processor.fields.json.parsing import as_text, pointer_keys

Find = Callable[[Any], Sequence[Any]]
"""Takes a document and returns the values that were found; null counts as missing."""
KINDS = {"text": "CHARBUF", "integer": "UINT64", "boolean": "BOOL", "address": "IPADDR"}
"""The type of a field by its name in a mapping file."""
_INT64 = range(2**64)


class BadPath(LannerError):
    """A path in a mapping file is wrong; the message is the reason."""


@dataclass(frozen=True, slots=True)
class _Every:
    """All elements of an array; with a member, those whose member has this text."""

    member: str = ""
    text: str = ""

    def of(self, value: Any) -> Sequence[Any]:
        if not isinstance(value, list):
            return ()
        if not self.member:
            return value
        return [each for each in value if isinstance(each, dict) and as_text(each.get(self.member)) == self.text]


def at(path: str) -> Find:
    """Return what finds the values at a path. Raises BadPath.

    In the JSON pointer, `*` stands for all elements of an array, `[name=text]` for those whose member has this text.
    """
    if not path.startswith("/"):
        raise BadPath("a path begins with a slash, as in /actor/id")
    parts: list[str | _Every] = []
    for key in pointer_keys(path):
        if key.startswith("[") and key.endswith("]"):
            member, equals, text = key[1:-1].partition("=")
            if not (member and equals):
                raise BadPath(f"'{key}' has the form [name=text]")
            parts.append(_Every(member, text))
        else:
            parts.append(_Every() if key == "*" else key)
    steps = tuple(parts)
    return lambda document: _found(document, steps)


def _found(document: Any, steps: Sequence[str | _Every]) -> list[Any]:
    values = [document]
    for step in steps:
        if isinstance(step, _Every):
            values = [each for value in values for each in step.of(value)]
            continue
        following = []
        for value in values:
            if isinstance(value, dict):
                following.append(value.get(step))
            elif isinstance(value, list) and step.isascii() and step.isdigit() and len(step) < 10:
                following += value[int(step) : int(step) + 1]
        values = following
    return [value for value in values if value is not None]


def first_of(finds: Sequence[Find]) -> Find:
    """Return what finds the values of the first of several that has any."""
    return finds[0] if len(finds) == 1 else lambda document: next(filter(None, (find(document) for find in finds)), ())


def all_of(finds: Sequence[Find]) -> Find:
    """Return what finds the values of each of several, in order."""
    return lambda document: [value for find in finds for value in find(document)]


def constant(text: str, find: Find | None) -> Find:
    """Return what finds a text, if something else is found."""
    return lambda document: (text,) if find is None or find(document) else ()


def by_case(selector: Find, cases: Mapping[str, Find]) -> Find:
    """Return what finds the values of the case that the text of the selector names."""

    def find(document: Any) -> Sequence[Any]:
        found = selector(document)
        chosen = cases.get(as_text(found[-1]) or "") if found else None
        return () if chosen is None else chosen(document)

    return find


def matched(find: Find, pattern: Any) -> Find:
    """Return what finds the first group of a compiled pattern, or the whole match, in values that match."""

    def read(document: Any) -> Sequence[Any]:
        matches = (pattern.search(as_text(value)) for value in find(document))
        return [match[1] if pattern.groups else match[0] for match in matches if match is not None]

    return read


def compile_pattern(text: str) -> Any:
    """Compile a regular expression, whose time to match is linear. Raises BadPath."""
    # Imported here, because it takes 2.4 MiB.
    import re2  # noqa: PLC0415

    options = re2.Options()
    options.log_errors = False
    try:
        return re2.compile(text, options)
    except re2.error as error:
        raise BadPath(f"not a regular expression: {error}") from None


def translated(find: Find, texts: Mapping[str, str]) -> Find:
    """Return what replaces each value by the text that is listed for it; others are missing."""
    return lambda document: [
        texts[text] for value in find(document) if (text := as_text(value)) is not None and text in texts
    ]


def total(finds: Sequence[Find]) -> Find:
    """Return what adds numbers; those that are missing count as 0, unless all are."""

    def find(document: Any) -> Sequence[Any]:
        found = [number for each in finds for value in each(document) if (number := _integer(value)) is not None]
        return (sum(found),) if found else ()

    return find


def template(parts: Sequence[str | Reader]) -> Find:
    """Return what composes a text of texts and fields; it is missing if a field is."""

    def find(document: Any) -> Sequence[Any]:
        texts = [part if isinstance(part, str) else _shown(part(document)) for part in parts]
        return () if None in texts else ("".join(filter(None, texts)),)

    return find


def _shown(value: Value) -> str | None:
    return ",".join(value) if isinstance(value, tuple) else as_text(value) if value is not None else None


def typed(find: Find, kind: str) -> Reader:
    """Return the reader of one value: the last that is found. kind: a key of KINDS."""
    convert = _CONVERSIONS[kind]

    def read(document: Any) -> Value:
        found = find(document)
        return convert(found[-1]) if found else None

    return read


def joined(find: Find, between: str) -> Reader:
    """Return the reader of the texts of all values, with a text between them."""

    def read(document: Any) -> Value:
        found = find(document)
        return between.join(as_text(value) or "" for value in found) if found else None

    return read


def element(find: Find, index: int) -> Reader:
    """Return the reader of the text of the value at a position."""

    def read(document: Any) -> Value:
        found = find(document)
        return as_text(found[index]) if index < len(found) else None

    return read


def listed(find: Find, index: int | None) -> Reader:
    """Return the reader of the texts of all values, or of the one at a position."""

    def read(document: Any) -> Value:
        found = find(document)
        chosen = found if index is None else found[index : index + 1]
        return tuple(as_text(value) or "" for value in chosen)

    return read


def _integer(value: Any) -> int | None:
    try:
        number = int(value)
    except (ValueError, TypeError, OverflowError):
        return None
    return number if number in _INT64 else None


def _boolean(value: Any) -> bool | None:
    return {"true": True, "false": False}.get((as_text(value) or "").lower())


def _address(value: Any) -> str | None:
    return canonical_address(as_text(value) or "")


_CONVERSIONS: dict[str, Callable[[Any], Value]] = {
    "text": as_text,
    "integer": _integer,
    "boolean": _boolean,
    "address": _address,
}
