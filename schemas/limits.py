"""Length limits of the texts of an alert: a host chose them, an alert quotes them, and every stage copies them.

A text that is too long is clipped, and a mark gives the number of missing bytes. If all texts together are too long,
each is clipped further.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

Value = str | int | float | bool | tuple[str, ...] | None
"""The value of a field in an alert."""

MAX_TEXT_BYTES = 64 << 10
MAX_TEXTS_BYTES = 896 << 10
"""Limit of all texts of an alert, field names included. It leaves an eighth of a megabyte for what rules choose."""
_CUT = " [truncated, {} more bytes]"
_LEFT_OUT = "[truncated, {} more values]"
_OVERHEAD = 16
"""The most bytes that a value takes in an alert in addition to its text."""
_MARK_BYTES = len(_CUT) + 20 + _OVERHEAD
_TIGHTER = (1, 4, 16, 64, 256)
_SHORT_TEXT_BYTES = 256
_SHORT_OUTPUT_BYTES = 1024
_PLAIN_CHARACTERS = 64


@dataclass(frozen=True, slots=True)
class Texts:
    """The parts of an alert whose text a host chose."""

    texts: tuple[str, ...]
    fields: Mapping[str, Value]
    """The fields that the output names."""
    event: Mapping[str, Value]
    """The fields of the whole event."""
    others: tuple[Mapping[str, Value], ...] = ()

    @property
    def characters(self) -> int:
        """The number of characters of all texts."""
        values = (self.fields, self.event, *self.others)
        return sum(map(len, self.texts)) + sum(map(_characters, values))

    def within(self, most_text: int = MAX_TEXT_BYTES, most: int = MAX_TEXTS_BYTES) -> "Texts":
        """Return the parts with each text clipped to most_text bytes, and all of them to most bytes.

        If they are within the limits already, return the same object.
        """
        # A character takes at most four bytes.
        if 4 * self.characters <= min(most_text, most):
            return self
        found = self
        for tighter in _TIGHTER:
            found = self._clipped(most_text // tighter)
            values = (found.fields, found.event, *found.others)
            if sum(map(_bytes, found.texts)) + sum(map(_size, values)) <= most:
                break
        return found

    def short(self) -> "Texts":
        """Return a short form: long texts are clipped, and long fields that only the whole event has are left out."""
        cut = self._clipped(_SHORT_TEXT_BYTES)
        return Texts(
            tuple(clipped(text, _SHORT_OUTPUT_BYTES) for text in self.texts),
            cut.fields,
            {name: value for name, value in self.event.items() if _characters({name: value}) <= _PLAIN_CHARACTERS},
            cut.others,
        )

    def _clipped(self, most_text: int) -> "Texts":
        return Texts(
            tuple(clipped(text, most_text) for text in self.texts),
            clipped_values(self.fields, most_text),
            clipped_values(self.event, most_text),
            tuple(clipped_values(values, most_text) for values in self.others),
        )


def clipped(text: str, most: int) -> str:
    """Clip a text to so many bytes, including the mark that gives how many are missing."""
    if 4 * len(text) <= most:
        return text
    data = text.encode("utf-8", "surrogatepass")
    if len(data) <= most:
        return text
    retained = data[: max(0, most - _MARK_BYTES)].decode("utf-8", "ignore")
    return retained + _CUT.format(len(data) - len(retained.encode()))


def clipped_values(values: Mapping[str, Value], most: int) -> dict[str, Value]:
    """Clip each value to so many bytes."""
    return {name: _value(value, most) for name, value in values.items()}


def _value(value: Value, most: int) -> Value:
    if isinstance(value, str):
        return clipped(value, most)
    return _items(value, most) if isinstance(value, tuple) else value


def _items(items: Sequence[str], most: int) -> tuple[str, ...]:
    if _value_bytes(tuple(items)) <= most:
        return tuple(items)
    retained: list[str] = []
    left = most - _MARK_BYTES
    for item in items:
        text = clipped(str(item), most - _MARK_BYTES)
        left -= _bytes(text) + _OVERHEAD
        if left < 0 and retained:
            return (*retained, _LEFT_OUT.format(len(items) - len(retained)))
        retained.append(text)
    return tuple(retained)


def _characters(values: Mapping[str, Value]) -> int:
    total = 0
    for value in values.values():
        # Takes half as long as isinstance; each alert has about a hundred values.
        if value.__class__ is str:
            total += len(value)
        elif value.__class__ is tuple:
            total += sum([len(str(item)) + _OVERHEAD for item in value])
    return total


def _size(values: Mapping[str, Value]) -> int:
    return sum(len(name) + _OVERHEAD + _value_bytes(value) for name, value in values.items())


def _value_bytes(value: Value) -> int:
    if isinstance(value, str):
        return _bytes(value)
    return sum(_bytes(str(item)) + _OVERHEAD for item in value) if isinstance(value, tuple) else 0


def _bytes(text: str) -> int:
    return len(text.encode("utf-8", "surrogatepass"))
