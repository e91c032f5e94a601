"""A batch under construction: rows that become columns at the end, and each text kept once."""

from array import array
from collections.abc import Callable, Iterable, Sequence
from itertools import accumulate, chain
from operator import itemgetter
from typing import Any

from schemas.batch import Column
from schemas.columns import ARGUMENT_COLUMNS, EVENT_COLUMNS

Row = tuple[int, ...]
"""A value for each of EVENT_COLUMNS but the first, time, in its order."""
Event = int
"""The place of an event among those of its batch that differ in more than their time."""

_Facts = tuple[Row, tuple[int, ...], tuple[int, ...], tuple[int, ...]]
"""All but an event's time: its row; and of its arguments the names and texts, by index, and numbers."""
_row, _names, _texts, _numbers = map(itemgetter, range(4))
_CODES = tuple(EVENT_COLUMNS.items())[1:]
_ARGUMENTS = tuple(ARGUMENT_COLUMNS.items())[1:]


class BatchBuilder:
    """Collects the events of one batch; its maker looks at count and size to tell when it is full."""

    __slots__ = ("_events", "_facts", "_known", "_name_rows", "_times", "size", "strings")

    def __init__(self) -> None:
        """Begin an empty batch."""
        self.strings: list[str | None] = [None]
        self.size = 0
        """Characters of text so far: what makes a batch large."""
        self._known: dict[str | None, int] = {None: 0}
        self._times: list[int] = []
        self._events: list[Event] = []
        self._facts: list[_Facts] = []
        self._name_rows: dict[tuple[str, ...], tuple[int, ...]] = {}

    @property
    def count(self) -> int:
        """Events so far."""
        return len(self._times)

    def intern(self, text: str | None) -> int:
        """Give a text's index; 0 for None."""
        index = self._known.get(text)
        if index is None and text is not None:
            index = self._known[text] = len(self.strings)
            self.strings.append(text)
            self.size += len(text)
        return index or 0

    def add(self, time: int, row: Row, names: tuple[str, ...], arguments: Iterable[tuple[str | None, int]]) -> Event:
        """Append one event: its time, its row, and text and number of each of its arguments, named by names.

        Returns:
            What `again` takes.
        """
        indices = self._name_rows.get(names)
        if indices is None:
            indices = self._name_rows[names] = tuple(map(self.intern, names))
        known, intern = self._known, self.intern
        texts = []
        numbers = []
        for text, number in arguments:
            index = known.get(text)
            texts.append(intern(text) if index is None else index)
            numbers.append(number)
        event = len(self._facts)
        self._facts.append((row, indices, tuple(texts), tuple(numbers)))
        self._times.append(time)
        self._events.append(event)
        return event

    def again(self, time: int, event: Event) -> None:
        """Append an event of this batch once more, as of another time."""
        self._times.append(time)
        self._events.append(event)

    def columns(self) -> dict[str, Column]:
        """Turn the rows into columns."""
        facts, count = self._facts, len(self._events)
        # Where events came again, all is done once for each that differs, and spread over the others.
        spread: Callable[[Sequence[Any]], Sequence[Any]] | None = None
        if len(facts) < count:
            spread = itemgetter(*self._events)
        columns = zip(*map(_row, facts), strict=True) if facts else ((),) * len(_CODES)
        made: dict[str, Column] = {"time": array("q", self._times)}
        for (name, code), column in zip(_CODES, columns, strict=True):
            # Most columns hold one value throughout, and to find that out costs less than to write it each time.
            if column and column.count(column[0]) == len(column):
                made[name] = array(code, column[:1]) * count
            else:
                made[name] = array(code, spread(column) if spread else column)
        lengths = [len(names) for _, names, _, _ in facts]
        made["arg_start"] = array("I", accumulate(spread(lengths) if spread else lengths, initial=0))
        for (name, code), part in zip(_ARGUMENTS, (_names, _texts, _numbers), strict=True):
            values = map(part, facts)
            if spread:
                made[name] = array(code, b"".join(spread([array(code, each).tobytes() for each in values])))
            else:
                made[name] = array(code, chain.from_iterable(values))
        return made
