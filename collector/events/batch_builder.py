"""A batch under construction: rows that become columns at the end, with each text stored once."""

from array import array
from collections import defaultdict
from collections.abc import Callable, Hashable, Sequence
from itertools import accumulate, count, islice, pairwise
from operator import itemgetter
from typing import Any, NamedTuple

from schemas.batch import ARGUMENT_COLUMNS, EVENT_COLUMNS, Column
from schemas.encoding.limits import encoded_length

Row = tuple[int, ...]
"""A value for each of EVENT_COLUMNS but the first (time), in order."""
Intern = Callable[[str | None], int]
"""Returns a text's index in a batch; 0 for None."""
Event = int
"""Index of an event among the distinct events of its batch, which differ in more than their time."""

_EVENT_BYTES, _ARGUMENT_BYTES = 120, 16
"""Approximate sizes in a batch, without texts."""
_FEW_TEXTS = 16
_CODES = tuple(EVENT_COLUMNS.items())[1:]
_ARGUMENTS = tuple(ARGUMENT_COLUMNS.items())[2:]
_INODE, _NAME = (list(EVENT_COLUMNS).index(name) - 1 for name in ("fd_ino", "fd_name"))
_AFTER_CPU = list(EVENT_COLUMNS).index("cpu")
"""Length of a row up to the CPU: it lacks the time."""
_REST = _NAME + len(("fd_name", "fd_name_raw", "fd_realpath"))
_INT64_MAX = (1 << 63) - 1


class FileArguments(NamedTuple):
    """Positions of an open's arguments that depend on the file."""

    label: int
    path: int
    inode: int


class OpenedFile(NamedTuple):
    """The parts of an open that opens of other files share."""

    before_inode: Row
    before_name: Row
    after_names: Row
    names: bytes
    texts: list[int]
    numbers: list[int]
    positions: FileArguments


class EventParts(NamedTuple):
    """All of an event but its time, with texts by their indices."""

    row: Row
    names: bytes
    texts: list[int]
    numbers: list[int]


class SimilarEvents(NamedTuple):
    """The parts that events share which differ only in their process, thread, CPU and a few arguments."""

    after_cpu: Row
    names: bytes
    texts: list[int]
    numbers: list[int]


class BatchBuilder:
    """Collects the events of one batch; the caller checks count and size to decide when it is full."""

    __slots__ = (
        "_events",
        "_indices",
        "_measured",
        "_name_rows",
        "_names",
        "_numbers",
        "_rows",
        "_starts",
        "_text_bytes",
        "_texts",
        "_times",
        "intern",
        "similar",
    )

    def __init__(self) -> None:
        """Begin an empty batch."""
        # A new text gets the next index without a call of a Python function.
        self._indices: dict[str | None, int] = defaultdict(count(1).__next__, {None: 0})
        self.intern: Intern = self._indices.__getitem__
        self._measured = 1
        """Texts whose length _text_bytes includes."""
        self._text_bytes = 0
        self._times: list[int] = []
        self._events: list[Event] = []
        self._rows: list[Row] = []
        self._starts = [0]
        """Start of each distinct event's arguments, and the end of the last."""
        self._names: list[bytes] = []
        """By distinct event, the indices of its arguments' names, packed."""
        # Lists: an array takes three times as long to grow by a few.
        self._texts: list[int] = []
        self._numbers: list[int] = []
        self._name_rows: dict[tuple[str, ...], bytes] = {}
        self.similar: dict[Hashable, SimilarEvents] = {}
        """The caller's keys of similar events, for `add_similar`."""

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
        fresh = len(self._indices) - self._measured
        if fresh:
            self._measured += fresh
            self._text_bytes += encoded_length("".join(islice(reversed(self._indices), fresh)))  # type: ignore[arg-type]
        return self._text_bytes + _EVENT_BYTES * len(self._times) + _ARGUMENT_BYTES * len(self._texts)

    def is_full(self, events: int, size: int) -> bool:
        """Return whether it has so many events, or so many bytes.

        The newest few texts may be missing in its size: measuring them together is faster than at each event.
        """
        if len(self._indices) - self._measured >= _FEW_TEXTS:
            return len(self._times) >= events or self.size >= size
        known = self._text_bytes + _EVENT_BYTES * len(self._times) + _ARGUMENT_BYTES * len(self._texts)
        return len(self._times) >= events or known >= size

    def add(self, time: int, row: Row, names: tuple[str, ...], arguments: Sequence[tuple[str | None, int]]) -> Event:
        """Append one event: its time, its row, and the text and number of each argument, in the order of names.

        Return the index that `repeat` takes.
        """
        texts, numbers = zip(*arguments) if arguments else ((), ())  # noqa: B905 - pairs; strict takes half as long again
        return self.add_lists(time, row, names, texts, numbers)

    def add_lists(
        self, time: int, row: Row, names: tuple[str, ...], texts: Sequence[str | None], numbers: Sequence[int]
    ) -> Event:
        """Append one event as `add` does, given the texts and the numbers of its arguments."""
        indices = self._name_rows.get(names)
        if indices is None:
            indices = self._name_rows[names] = array("i", map(self.intern, names)).tobytes()
        self._names.append(indices)
        self._texts.extend(map(self.intern, texts))
        self._numbers.extend(numbers)
        return self._added(time, row)

    def row(self, event: Event) -> Row:
        """Return the row of an event of this batch."""
        return self._rows[event]

    def parts(self, event: Event) -> EventParts:
        """Return an event of this batch."""
        own = slice(self._starts[event], self._starts[event + 1])
        return EventParts(self._rows[event], self._names[event], self._texts[own], self._numbers[own])

    def add_parts(self, time: int, parts: EventParts) -> Event:
        """Append an event made of an earlier one's parts. time: epoch nanoseconds."""
        self._names.append(parts.names)
        self._texts += parts.texts
        self._numbers += parts.numbers
        return self._added(time, parts.row)

    def opened_file(self, event: Event, positions: FileArguments) -> OpenedFile:
        """Return the parts of an event of this batch that `add_file` reuses."""
        row, names, texts, numbers = self.parts(event)
        return OpenedFile(row[:_INODE], row[_INODE + 1 : _NAME], row[_REST:], names, texts, numbers, positions)

    def add_file(self, time: int, opened: OpenedFile, inode: int, paths: tuple[str, str, str]) -> Event:
        """Append an open that differs from an earlier one in its file only.

        Args:
            time: epoch nanoseconds.
            opened: the parts that are the same.
            inode: the file's.
            paths: its name, absolute and clean; the one passed to the call; the kernel's.
        """
        before_inode, before_name, after_names, names, like_texts, like_numbers, (label_at, path_at, inode_at) = opened
        intern = self.intern
        name, given, real = map(intern, paths)
        label, inode_text = intern(f"<f>{paths[2]}"), intern(str(inode))
        texts, numbers = like_texts.copy(), like_numbers.copy()
        texts[label_at], texts[path_at], texts[inode_at] = label, name, inode_text
        numbers[inode_at] = inode if inode <= _INT64_MAX else inode - (1 << 64)
        self._names.append(names)
        self._texts += texts
        self._numbers += numbers
        row = (*before_inode, inode, *before_name, name, given, real, *after_names)
        return self._added(time, row)

    def remember(self, key: Hashable, event: Event) -> None:
        """Store the parts of an event of this batch that similar ones share."""
        row, names, texts, numbers = self.parts(event)
        self.similar[key] = SimilarEvents(row[_AFTER_CPU:], names, texts, numbers)

    def add_similar(
        self, time: int, head: Row, similar: SimilarEvents, texts: Sequence[int], numbers: Sequence[int]
    ) -> Event:
        """Append an event that is similar to an earlier one.

        Args:
            time: epoch nanoseconds.
            head: its row up to the CPU.
            similar: what both share.
            texts: the indices of its arguments' texts.
            numbers: the numbers of its arguments.
        """
        self._names.append(similar.names)
        self._texts += texts
        self._numbers += numbers
        return self._added(time, head + similar.after_cpu)

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
            # Most columns contain one value throughout, and checking for that costs less than writing it each time.
            if column and column.count(column[0]) == len(column):
                made[name] = array(code, column[:1]) * count
            else:
                made[name] = array(code, spread(column) if spread else column)
        starts = self._starts
        made["arg_start"] = array("I", starts)
        if spread:
            lengths = [end - start for start, end in pairwise(starts)]
            made["arg_start"] = array("I", accumulate(spread(lengths), initial=0))
        made["arg_name"] = array("i", b"".join(spread(self._names) if spread else self._names))
        for (name, code), values in zip(_ARGUMENTS, (self._texts, self._numbers), strict=True):
            made[name] = whole = array(code, values)
            if spread:
                pieces = [whole[start:end].tobytes() for start, end in pairwise(starts)]
                made[name] = array(code, b"".join(spread(pieces)))
        return made
