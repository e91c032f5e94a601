"""Values of events as Avro takes them, and back without loss: text may hold bytes that are none."""

from collections.abc import Mapping
from typing import Any

from schemas.alert import Value

_LONG = range(-(2**63), 2**63)


def to_bytes(text: str) -> bytes:
    """Write a text, halves of surrogate pairs as they are."""
    return text.encode("utf-8", "surrogatepass")


def to_text(data: bytes) -> str:
    """Read what to_bytes wrote; raises UnicodeDecodeError."""
    return data.decode("utf-8", "surrogatepass")


def group_datum(group: tuple[str | None, ...]) -> list[bytes | None]:
    """Write the values of a group."""
    return [None if value is None else to_bytes(value) for value in group]


def group_of(datum: list[bytes | None]) -> tuple[str | None, ...]:
    """Read the values of a group."""
    return tuple(None if value is None else to_text(value) for value in datum)


def values_datum(values: Mapping[str, Value]) -> dict[str, Any]:
    """Write fields by name; a number that no long holds becomes text."""
    return {name: _plain(value) for name, value in values.items()}


def values_of(datum: Mapping[str, Any]) -> dict[str, Value]:
    """Read fields by name."""
    return {name: _value(value) for name, value in datum.items()}


def _plain(value: Value) -> Any:
    # Branches of the union are named: to try one after the other is most of what writing costs.
    if isinstance(value, str):
        return "bytes", to_bytes(value)
    if isinstance(value, bool):
        return "boolean", value
    if isinstance(value, int):
        return ("long", value) if value in _LONG else ("bytes", to_bytes(str(value)))
    if isinstance(value, tuple):
        return [to_bytes(str(item)) for item in value]
    return value


def _value(value: Any) -> Value:
    if isinstance(value, bytes):
        return to_text(value)
    if isinstance(value, list):
        return tuple(to_text(item) for item in value)
    plain: Value = value
    return plain
