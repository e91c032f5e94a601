"""A batch under construction: rows that become columns at the end, and each text kept once."""

from array import array
from collections.abc import Iterable

from schemas.batch import Column
from schemas.columns import ARGUMENT_COLUMNS, EVENT_COLUMNS

Row = tuple[int, ...]
"""A value for each of EVENT_COLUMNS, in its order."""


class BatchBuilder:
    """Collects the events of one batch; its maker looks at count and size to tell when it is full."""

    __slots__ = ("_known", "_name_rows", "_names", "_numbers", "_rows", "_starts", "_texts", "size", "strings")

    def __init__(self) -> None:
        """Begin an empty batch."""
        self.strings: list[str | None] = [None]
        self.size = 0
        """Characters of text so far: what makes a batch large."""
        self._known: dict[str, int] = {}
        self._rows: list[Row] = []
        self._starts = [0]
        self._names: list[int] = []
        self._texts: list[int] = []
        self._numbers: list[int] = []
        self._name_rows: dict[tuple[str, ...], tuple[int, ...]] = {}

    @property
    def count(self) -> int:
        """Events so far."""
        return len(self._rows)

    def intern(self, text: str | None) -> int:
        """Give a text's index; 0 for None."""
        if text is None:
            return 0
        index = self._known.get(text)
        if index is None:
            index = self._known[text] = len(self.strings)
            self.strings.append(text)
            self.size += len(text)
        return index

    def add(self, row: Row, names: tuple[str, ...], arguments: Iterable[tuple[str | None, int]]) -> None:
        """Append one event: its row, and text and number of each of its arguments, named by names."""
        self._rows.append(row)
        indices = self._name_rows.get(names)
        if indices is None:
            indices = self._name_rows[names] = tuple(map(self.intern, names))
        self._names += indices
        for text, number in arguments:
            self._texts.append(self.intern(text))
            self._numbers.append(number)
        self._starts.append(len(self._names))

    def columns(self) -> dict[str, Column]:
        """Turn the rows into columns."""
        columns = zip(*self._rows, strict=True) if self._rows else ((),) * len(EVENT_COLUMNS)
        made: dict[str, Column] = {
            name: array(code, column) for (name, code), column in zip(EVENT_COLUMNS.items(), columns, strict=True)
        }
        arguments = (self._starts, self._names, self._texts, self._numbers)
        for (name, code), column in zip(ARGUMENT_COLUMNS.items(), arguments, strict=True):
            made[name] = array(code, column)
        return made
