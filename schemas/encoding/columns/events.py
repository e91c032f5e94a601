"""The event columns of a batch on the wire: packing them, and checking their lengths and indices."""

from collections.abc import Mapping

from schemas.batch import Column
from schemas.columns import ARGUMENT_COLUMNS, EVENT_COLUMNS, STRING_COLUMNS
from schemas.encoding.columns.indices import check_below, check_steps

MAX_EVENTS = 100_000
MAX_ARGUMENTS = 64
"""Limit of the arguments of an event; no event in Falco's table has more than 32."""

COLUMNS = {**EVENT_COLUMNS, **ARGUMENT_COLUMNS}
"""Every column and its struct format character (little-endian)."""
INDEX_COLUMNS = (*STRING_COLUMNS, "arg_name", "arg_value")
"""The columns of indices into the batch's texts."""
_SIZES = {"q": 8, "Q": 8, "i": 4, "I": 4, "h": 2}


def pack_column(column: Column) -> bytes:
    """Return the bytes of a column; empty if every element is 0."""
    raw = memoryview(column).tobytes()  # type: ignore[arg-type]
    return b"" if raw == bytes(len(raw)) else raw


def unpack_columns(raw: Mapping[str, bytes], count: int, texts: int, processes: int) -> dict[str, Column]:
    """Return the columns of a batch as views of the received bytes; nothing is copied, since rules read few columns.

    Args:
        raw: the columns' bytes by name; an empty one is all 0.
        count: number of events.
        texts: length of the table of texts.
        processes: length of the table of processes.

    Raises:
        ValueError: a column has the wrong length or an index outside its table, or arg_start decreases.
    """
    if not 0 <= count <= MAX_EVENTS:
        raise ValueError(f"{count} events in one batch")
    if not count and not any(map(raw.__getitem__, COLUMNS)):
        # A heartbeat: most batches of an idle fleet.
        return {**_NONE}
    columns = {name: _column(raw, name, count) for name in EVENT_COLUMNS}
    starts = columns["arg_start"] = _column(raw, "arg_start", count + 1)
    if raw["arg_start"]:
        try:
            check_steps(raw["arg_start"], MAX_ARGUMENTS)
        except ValueError as error:
            raise ValueError(f"arg_start {error}") from None
    for name in ("arg_name", "arg_value", "arg_raw"):
        columns[name] = _column(raw, name, starts[count])
    check_below(texts, raw, INDEX_COLUMNS)
    # Read as unsigned, a negative index is a huge one: one comparison finds both.
    if count and max(memoryview(raw["process"]).cast("I"), default=0) >= processes:
        raise ValueError("column process points outside its table")
    return columns


def _column(raw: Mapping[str, bytes], name: str, count: int) -> Column:
    size = _SIZES[COLUMNS[name]] * count
    data = raw[name] or bytes(size)
    if len(data) != size:
        raise ValueError(f"column {name} has {len(data)} bytes, not {size}")
    return memoryview(data).cast(COLUMNS[name])  # type: ignore[call-overload, no-any-return]


_NONE = {name: _column(dict.fromkeys(COLUMNS, b""), name, 0) for name in COLUMNS} | {
    "arg_start": _column({"arg_start": b""}, "arg_start", 1)
}
"""The columns of a batch without events."""
