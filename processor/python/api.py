"""What Python rule files import: decorators, and the events that their functions get.

The decorators leave a function as it is: Lanner reads their arguments from the text of the file, and never runs it to
learn what it declares. So a file can also be imported by a test, and its functions called with an `Event` of fields.
"""

import math
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

Function = TypeVar("Function", bound=Callable[..., Any])

MODULES = (
    *("base64", "binascii", "bisect", "collections", "collections.abc", "contextlib", "copy", "dataclasses"),
    *("datetime", "decimal", "difflib", "enum", "fnmatch", "fractions", "functools", "hashlib", "heapq", "hmac"),
    *("ipaddress", "itertools", "json", "math", "operator", "random", "re", "statistics", "string", "struct"),
    *("textwrap", "time", "types", "typing", "unicodedata", "urllib.parse", "uuid", "zlib"),
)
"""Modules of the standard library that a file can import: those that compute."""
PUBLIC = "lanner.detections"
"""The module that a file imports the decorators from."""

MAX_RESULTS = 10
"""Alerts of one function and event."""
MAX_TEXT = 4_000
"""Characters of a text, or of a field's value."""
MAX_FIELDS = 32
"""Output fields of one alert."""
_FIELD = re.compile(r"[a-z][a-z0-9_]{0,63}")
_LARGEST = 2**63


class Event:
    """An event's fields, by Falco's names: ``event.proc.name`` or ``event["proc.aname[2]"]``."""

    __slots__ = ("_fields", "_prefix")

    def __init__(self, fields: Mapping[str, Any], prefix: str = "") -> None:
        """Take the fields of an event. prefix: of the names that attributes refer to."""
        self._fields = fields
        self._prefix = prefix

    def __getitem__(self, name: str) -> Any:
        """Return the value of a field: None if the event has none. Raises KeyError if it is not declared."""
        try:
            return self._fields[name]
        except KeyError:
            raise KeyError(f"{name} is not declared: add it to fields=[...] of the decorator") from None

    def __getattr__(self, name: str) -> Any:
        """Return the value of a field, or what the names with this prefix refer to."""
        full = f"{self._prefix}{name}"
        if full in self._fields:
            return self._fields[full]
        if any(each.startswith(f"{full}.") for each in self._fields):
            return Event(self._fields, f"{full}.")
        raise AttributeError(f"{full} is not declared: add it to fields=[...] of the decorator")

    def get(self, name: str, default: Any = None) -> Any:
        """Return the value of a field; the default if the event has none or it is not declared."""
        value = self._fields.get(name)
        return default if value is None else value


def detect(**declared: Any) -> Callable[[Function], Function]:  # noqa: ARG001  read from the file's text
    """Declare a rule whose function decides about the events that match the condition; keys are those of rules."""
    return lambda function: function


def enrich(*, rules: Iterable[str]) -> Callable[[Function], Function]:  # noqa: ARG001
    """Declare a function that returns further output fields for the alerts of rules; `*` in a name matches any text."""
    return lambda function: function


def results_of(returned: Any) -> list[tuple[str, dict[str, Any]]]:
    """Return the alerts that a function returned or yielded: text and output fields of each.

    None and False are no alert, True is the rule's alert, a text is appended to its output, and a mapping has output
    fields. Raises TypeError and ValueError for anything else.
    """
    if returned is None or returned is False:
        return []
    if returned is True or isinstance(returned, str | dict):
        returned = (returned,)
    found: list[tuple[str, dict[str, Any]]] = []
    for each in returned:
        if each is None or each is False:
            continue
        if len(found) == MAX_RESULTS:
            raise ValueError(f"it yields more than {MAX_RESULTS} alerts for one event")
        if each is True:
            found.append(("", {}))
        elif isinstance(each, str):
            found.append((bounded_text(each), {}))
        elif isinstance(each, dict):
            found.append(("", output_fields(each)))
        else:
            raise TypeError(f"it yields {type(each).__name__}: yield True, a text, or a dict of output fields")
    return found


def output_fields(given: Mapping[Any, Any]) -> dict[str, Any]:
    """Return output fields if their names and values are valid. Raises TypeError and ValueError."""
    if len(given) > MAX_FIELDS:
        raise ValueError(f"it returns {len(given)} output fields; the limit is {MAX_FIELDS}")
    for name, value in given.items():
        if not isinstance(name, str) or _FIELD.fullmatch(name) is None:
            shown = str(name)[:100]
            raise ValueError(f"output field {shown!r}: a name has lower-case letters, digits and underscores")
        if isinstance(value, str):
            bounded_text(value)
        elif isinstance(value, float) and not math.isfinite(value):
            raise ValueError(f"output field {name!r} is not a number")
        elif isinstance(value, int) and not -_LARGEST <= value < _LARGEST:
            raise ValueError(f"output field {name!r} has more than 64 bits")
        elif not isinstance(value, int | float | None):
            raise TypeError(f"output field {name!r} is a {type(value).__name__}: give a text, a number, or a boolean")
    return dict(given)


def bounded_text(text: str) -> str:
    """Return a text. Raises ValueError if it is too long."""
    if len(text) > MAX_TEXT:
        raise ValueError(f"it returns a text of {len(text):,} characters; the limit is {MAX_TEXT:,}")
    try:
        # As texts of events do, it may have bytes that are not UTF-8.
        text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        raise ValueError("it returns a text that is not Unicode") from None
    return text
