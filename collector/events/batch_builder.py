"""A batch under construction: rows that become columns at the end, with each text stored once."""

from array import array
from collections.abc import Callable, Sequence
from itertools import accumulate, pairwise
from operator import itemgetter
from typing import Any

from schemas.batch import Column
from schemas.columns import ARGUMENT_COLUMNS, EVENT_COLUMNS
from schemas.encoding.columns.texts import encode_text

Row = tuple[int, ...]
"""A value for each of EVENT_COLUMNS but the first (time), in order."""
Event = int
"""Index of an event among the distinct events of its batch, which differ in more than their time."""

_EVENT_BYTES, _ARGUMENT_BYTES = 120, 16
"""Approximate sizes in a batch, without texts."""
_CODES = tuple(EVENT_COLUMNS.items())[1:]
_ARGUMENTS = tuple(ARGUMENT_COLUMNS.items())[1:]


class _Indices(dict[str | None, int]):
    """Indices by text, 0 for None; a new text gets the next index."""

    __slots__ = ("size",)

    def __init__(self) -> None:
        super().__init__({None: 0})
        self.size = 0

    def __missing__(self, text: str) -> int:
        index = self[text] = len(self)
        self.size += len(text) if text.isascii() else len(encode_text(text))
        return index


class BatchBuilder:
    """Collects the events of one batch; the caller checks count and size to decide when it is full."""

    __slots__ = (
        "_events",
        "_indices",
        "_name_rows",
        "_names",
        "_numbers",
        "_rows",
        "_starts",
        "_texts",
        "_times",
        "intern",
    )

    def __init__(self) -> None:
        """Begin an empty batch."""
        self._indices = _Indices()
        self.intern: Callable[[str | None], int] = self._indices.__getitem__
        """Return a text's index; 0 for None."""
        self._times: list[int] = []
        self._events: list[Event] = []
        self._rows: list[Row] = []
        self._starts = [0]
        """Start of each distinct event's arguments, and the end of the last."""
        self._names: array[int] = array("i")
        # Lists: an array takes three times as long to grow by a few.
        self._texts: list[int] = []
        self._numbers: list[int] = []
        self._name_rows: dict[tuple[str, ...], array[int]] = {}

    @property
    def count(self) -> int:
        """Number of events."""
        return len(self._times)

    @property
    def strings(self) -> list[str | None]:
        """The texts by index; the first is None, for missing ones."""
        return list(self._indices)

    @property
    def size(self) -> int:
        """Approximate bytes of everything added."""
        return self._indices.size + _EVENT_BYTES * len(self._times) + _ARGUMENT_BYTES * len(self._texts)

    def add(self, time: int, row: Row, names: tuple[str, ...], arguments: Sequence[tuple[str | None, int]]) -> Event:
        """Append one event: its time, its row, and the text and number of each argument, in the order of names.

        Returns:
            The index that `repeat` takes.
        """
        indices = self._name_rows.get(names)
        if indices is None:
            indices = self._name_rows[names] = array("i", map(self.intern, names))
        if arguments:
            texts, numbers = zip(*arguments)  # noqa: B905 - pairs, by their type; strict takes half as long again
            self._names.extend(indices)
            self._texts.extend(map(self.intern, texts))
            self._numbers.extend(numbers)
        return self._added(time, row)

    def row(self, event: Event) -> Row:
        """Return the row of an event of this batch."""
        return self._rows[event]

    def arguments(self, event: Event) -> tuple[list[int], list[int]]:
        """Return copies of an event's arguments: text indices and numbers."""
        own = slice(self._starts[event], self._starts[event + 1])
        return self._texts[own], self._numbers[own]

    def add_like(self, time: int, event: Event, row: Row, texts: list[int], numbers: list[int]) -> Event:
        """Append an event with the argument names of another one, given text indices and numbers."""
        self._names.extend(self._names[self._starts[event] : self._starts[event + 1]])
        self._texts.extend(texts)
        self._numbers.extend(numbers)
        return self._added(time, row)

    def _added(self, time: int, row: Row) -> Event:
        event = len(self._rows)
        self._rows.append(row)
        self._starts.append(len(self._texts))
        self._times.append(time)
        self._events.append(event)
        return event

    def repeat(self, time: int, event: Event) -> None:
        """Append an event of this batch once more, with another time."""
        self._times.append(time)
        self._events.append(event)

    def shift(self, step: int) -> None:
        """Shift the times of all events, because the wall clock was set. step: ns."""
        self._times = [time + step for time in self._times]

    def columns(self) -> dict[str, Column]:
        """Turn the rows into columns."""
        rows, count = self._rows, len(self._events)
        # With repeated events, each distinct event is processed once and then expanded.
        spread: Callable[[Sequence[Any]], Sequence[Any]] | None = None
        if len(rows) < count:
            spread = itemgetter(*self._events)
        columns = zip(*rows, strict=True) if rows else ((),) * len(_CODES)
        made: dict[str, Column] = {"time": array("q", self._times)}
        for (name, code), column in zip(_CODES, columns, strict=True):
            # Most columns hold one value throughout, and checking for that costs less than writing it each time.
            if column and column.count(column[0]) == len(column):
                made[name] = array(code, column[:1]) * count
            else:
                made[name] = array(code, spread(column) if spread else column)
        starts = self._starts
        made["arg_start"] = array("I", starts)
        if spread:
            lengths = [end - start for start, end in pairwise(starts)]
            made["arg_start"] = array("I", accumulate(spread(lengths), initial=0))
        for (name, code), values in zip(_ARGUMENTS, (self._names, self._texts, self._numbers), strict=True):
            made[name] = whole = array(code, values)
            if spread:
                pieces = [whole[start:end].tobytes() for start, end in pairwise(starts)]
                made[name] = array(code, b"".join(spread(pieces)))
        return made
