"""The columns of a batch on the wire: checked as a whole, turned into numbers only where somebody asks."""

from array import array
from collections.abc import Iterator, Mapping
from itertools import islice
from operator import gt

from schemas.batch import Column
from schemas.columns import ARGUMENT_COLUMNS, EVENT_COLUMNS, STRING_COLUMNS
from schemas.indices import check_below

MAX_EVENTS = 100_000
MAX_ARGUMENTS = 64
"""An event, on average; Falco's table knows no event of more than 32."""

COLUMNS = {**EVENT_COLUMNS, **ARGUMENT_COLUMNS}
INDEX_COLUMNS = (*STRING_COLUMNS, "arg_name", "arg_value")
"""Those that point into the batch's texts."""
_SIZES = {"q": 8, "Q": 8, "i": 4, "I": 4, "h": 2}


class WireColumns(Mapping[str, Column]):
    """The columns of a decoded batch, each made when it is first asked for: rules ask for a third of them."""

    __slots__ = ("_count", "_made", "_raw")

    def __init__(self, raw: Mapping[str, bytes], count: int) -> None:
        """Check that every column has its length, and that arguments belong to events.

        Args:
            raw: by name, little-endian; an empty one is all 0.
            count: of events.

        Raises:
            ValueError: a column has another length, or arg_start goes backwards.
        """
        if not 0 <= count <= MAX_EVENTS:
            raise ValueError(f"{count} events in one batch")
        self._raw = raw
        self._count = dict.fromkeys(EVENT_COLUMNS, count) | {"arg_start": count + 1}
        self._made: dict[str, Column] = {}
        for name, code in EVENT_COLUMNS.items():
            if raw[name]:
                _check_length(raw, name, code, count)
        arguments = self._arguments(count)
        for name in ("arg_name", "arg_value", "arg_raw"):
            self._count[name] = arguments
            if raw[name]:
                _check_length(raw, name, ARGUMENT_COLUMNS[name], arguments)

    def _arguments(self, count: int) -> int:
        if not self._raw["arg_start"]:
            return 0
        _check_length(self._raw, "arg_start", ARGUMENT_COLUMNS["arg_start"], count + 1)
        starts = self["arg_start"]
        if starts[0] != 0 or any(map(gt, starts, islice(starts, 1, None))):
            raise ValueError("arg_start goes backwards")
        if starts[count] > MAX_ARGUMENTS * count:
            raise ValueError(f"{starts[count]} arguments of {count} events")
        return starts[count]

    def check(self, texts: int, processes: int) -> None:
        """Check that indices point into tables of such lengths; raises ValueError."""
        check_below(texts, self._raw, INDEX_COLUMNS)
        if self._count["process"] and max(memoryview(self._raw["process"]).cast("I"), default=0) >= processes:
            raise ValueError("column process points outside its table")

    def __getitem__(self, name: str) -> Column:
        """Give a column."""
        column = self._made.get(name)
        if column is None:
            raw = self._raw[name]
            # Lists, since nothing is read faster by index.
            column = memoryview(raw).cast(COLUMNS[name]).tolist() if raw else [0] * self._count[name]  # type: ignore[call-overload]
            self._made[name] = column
        return column

    def __iter__(self) -> Iterator[str]:
        """Give the names."""
        return iter(COLUMNS)

    def __len__(self) -> int:
        """Count the columns."""
        return len(COLUMNS)


def pack_column(name: str, column: Column) -> bytes:
    """Give a column's bytes; none where it is all 0."""
    raw = (column if isinstance(column, array) else array(COLUMNS[name], column)).tobytes()
    return b"" if raw == bytes(len(raw)) else raw


def _check_length(raw: Mapping[str, bytes], name: str, code: str, count: int) -> None:
    if len(raw[name]) != _SIZES[code] * count:
        raise ValueError(f"column {name} has {len(raw[name])} bytes, not {_SIZES[code] * count}")
