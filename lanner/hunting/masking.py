"""What a hunt shows of its results: texts as hosts sent them, without secrets."""

from collections.abc import Iterator
from math import isfinite
from typing import Any

import pyarrow as pa

from foundation.quantities import iso8601_zulu
from lanner.archive.schema import archived_text, restored_text
from processor.output.redaction import Redaction


def masked(table: pa.Table, redaction: Redaction) -> pa.Table:
    """Return a table with what the redaction masks in its texts, also those in lists and structures."""
    for at, name in enumerate(table.column_names):
        column = table.column(at)
        if pa.types.is_dictionary(column.type):
            column = column.cast(column.type.value_type)
        if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
            column = _each_masked(column, redaction)
        elif pa.types.is_nested(column.type):
            column = column.cast(_readable(column.type), safe=False)
            column = pa.array((_inner(value, redaction) for value in column.to_pylist()), column.type)
        table = table.set_column(at, name, column)
    return table


def _each_masked(column: pa.ChunkedArray, redaction: Redaction) -> pa.ChunkedArray:
    # Most texts occur often.
    encoded = column.cast(pa.string()).combine_chunks().dictionary_encode()
    shown = pa.array([_masked(text, redaction) for text in encoded.dictionary.to_pylist()], pa.string())
    return pa.chunked_array([shown.take(encoded.indices)], pa.string())


def _readable(kind: pa.DataType) -> pa.DataType:
    """Return a type with times in microseconds: Python has no others inside of lists and structures."""
    if pa.types.is_timestamp(kind):
        return pa.timestamp("us", kind.tz)
    if pa.types.is_list(kind):
        return pa.list_(_readable(kind.value_type))
    if pa.types.is_struct(kind):
        return pa.struct([pa.field(each.name, _readable(each.type)) for each in kind])
    return kind


def _masked(text: str, redaction: Redaction) -> str:
    return archived_text(redaction.text(restored_text(text)))


def _inner(value: Any, redaction: Redaction) -> Any:
    if isinstance(value, str):
        return _masked(value, redaction)
    if isinstance(value, dict):
        return {key: _inner(each, redaction) for key, each in value.items()}
    return [_inner(each, redaction) for each in value] if isinstance(value, list) else value


def rows_of(table: pa.Table) -> Iterator[list[Any]]:
    """Yield the rows of a table: texts as hosts sent them, times as texts, integers of any size as int."""
    columns = [list(_values(table.column(at))) for at in range(table.num_columns)]
    yield from map(list, zip(*columns, strict=True))


def _values(column: pa.ChunkedArray) -> Iterator[Any]:
    kind = column.type
    if pa.types.is_timestamp(kind):
        times = column.cast(pa.timestamp("ns", kind.tz)).cast(pa.int64()).to_pylist()
        return (None if time is None else iso8601_zulu(time) for time in times)
    if pa.types.is_string(kind):
        return (None if text is None else restored_text(text) for text in column.to_pylist())
    if pa.types.is_decimal(kind):
        whole = kind.scale == 0
        return (None if value is None else int(value) if whole else float(value) for value in column.to_pylist())
    if pa.types.is_floating(kind):
        # JSON has no infinity.
        return (value if value is None or isfinite(value) else str(value) for value in column.to_pylist())
    return iter(column.cast(_readable(kind), safe=False).to_pylist())
