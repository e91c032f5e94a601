"""Makes a Parquet file of another one by new pages for some columns; the pages of the others are copied as they are.

Writing an archive's 287 columns takes a processor 18 s for a million events, half an hour for a hundred million. Pages
don't state where they are, so a copy needs only new places in the footer, which is in Thrift's compact protocol.

Source: https://github.com/apache/parquet-format/blob/master/src/main/thrift/parquet.thrift and
https://github.com/apache/thrift/blob/master/doc/specs/thrift-compact-protocol.md.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import count
from typing import Any

_MAGIC = b"PAR1"
_TRUE, _FALSE, _BYTE, _I16, _I64, _DOUBLE, _BINARY, _LIST, _SET, _STRUCT = 1, 2, 3, 4, 6, 7, 8, 9, 10, 12
_GROUPS, _METADATA = 4, 5
_COLUMNS, _GROUP_BYTES, _GROUP_PLACE, _GROUP_PACKED = 1, 2, 5, 6
_CHUNK_PLACE, _CHUNK, _INDEXES = 2, 3, (4, 5, 6, 7)
_PATH, _UNPACKED, _PACKED, _DATA_PLACE, _DICTIONARY_PLACE, _BLOOM_PLACE, _BLOOM_BYTES = 3, 6, 7, 9, 11, 14, 15

Struct = dict[int, tuple[int, Any]]
"""The fields of a structure, by id: type and value. A list's value is the type of its elements, and they."""


class _Reader:
    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def _byte(self) -> int:
        self._at += 1
        return self._data[self._at - 1]

    def _varint(self) -> int:
        found = 0
        for shift in count(0, 7):
            byte = self._byte()
            found |= (byte & 0x7F) << shift
            if byte < 0x80:
                break
        return found

    def _bytes(self, size: int) -> bytes:
        self._at += size
        return self._data[self._at - size : self._at]

    def struct(self) -> Struct:
        found: Struct = {}
        number = 0
        while byte := self._byte():
            number = number + (byte >> 4) if byte >> 4 else _signed(self._varint())
            kind = byte & 15
            found[number] = kind, None if kind in (_TRUE, _FALSE) else self._value(kind)
        return found

    def _value(self, kind: int) -> Any:
        if kind == _STRUCT:
            return self.struct()
        if kind == _BINARY:
            return self._bytes(self._varint())
        if kind == _DOUBLE:
            return self._bytes(8)
        if kind in (_LIST, _SET):
            byte = self._byte()
            size = self._varint() if byte >> 4 == 15 else byte >> 4
            return byte & 15, [self._value(byte & 15) for _ in range(size)]
        if kind in (_TRUE, _FALSE, _BYTE):
            return self._byte()
        return _signed(self._varint())


def _signed(number: int) -> int:
    return number >> 1 ^ -(number & 1)


def _varint(number: int) -> bytes:
    found = bytearray()
    while number > 0x7F:
        found.append(number & 0x7F | 0x80)
        number >>= 7
    found.append(number)
    return bytes(found)


def _written(fields: Struct) -> bytes:
    parts, last = [], 0
    for number, (kind, value) in sorted(fields.items()):
        step = number - last
        short = 0 < step < 16
        parts.append(bytes([step << 4 | kind]) if short else bytes([kind]) + _varint(number << 1))
        if kind not in (_TRUE, _FALSE):
            parts.append(_value(kind, value))
        last = number
    return b"".join(parts) + b"\0"


def _value(kind: int, value: Any) -> bytes:
    if kind == _STRUCT:
        return _written(value)
    if kind == _BINARY:
        return _varint(len(value)) + bytes(value)
    if kind == _DOUBLE:
        return bytes(value)
    if kind in (_LIST, _SET):
        inner, elements = value
        size = len(elements)
        head = bytes([size << 4 | inner]) if size < 15 else bytes([0xF0 | inner]) + _varint(size)
        return head + b"".join(_value(inner, each) for each in elements)
    if kind in (_TRUE, _FALSE, _BYTE):
        return bytes([value])
    return _varint(value << 1 ^ value >> 63)


@dataclass(frozen=True, slots=True)
class ParquetBytes:
    """A file."""

    data: bytes
    footer: Struct

    def groups(self) -> list[Struct]:
        """Return its row groups."""
        found: list[Struct] = self.footer[_GROUPS][1][1]
        return found


def parquet_bytes(data: bytes) -> ParquetBytes:
    """Return a file with its footer decoded."""
    size = int.from_bytes(data[-8:-4], "little")
    return ParquetBytes(data, _Reader(data[-8 - size : -8]).struct())


def spliced(whole: ParquetBytes, changed: ParquetBytes, metadata: Mapping[bytes, bytes]) -> Iterator[bytes]:
    """Yield the parts of a file with the columns of the second file where it has them, else those of the first.

    metadata: what the file states of itself.
    """
    yield _MAGIC
    at = len(_MAGIC)
    groups = []
    for group, other in zip(whole.groups(), changed.groups(), strict=True):
        replaced = {_path(chunk): chunk for chunk in other[_COLUMNS][1][1]}
        begin, unpacked, chunks = at, 0, []
        for chunk in group[_COLUMNS][1][1]:
            own = replaced.get(_path(chunk))
            source = whole if own is None else changed
            parts, moved = _moved(source.data, chunk if own is None else own, at)
            yield from parts
            at += sum(map(len, parts))
            unpacked += moved[_CHUNK][1][_UNPACKED][1]
            chunks.append(moved)
        made = {**group, _COLUMNS: (_LIST, (_STRUCT, chunks)), _GROUP_BYTES: (_I64, unpacked)}
        made[_GROUP_PLACE], made[_GROUP_PACKED] = (_I64, begin), (_I64, at - begin)
        groups.append(made)
    texts = [{1: (_BINARY, name), 2: (_BINARY, value)} for name, value in metadata.items()]
    footer = {**whole.footer, _GROUPS: (_LIST, (_STRUCT, groups)), _METADATA: (_LIST, (_STRUCT, texts))}
    text = _written(footer)
    yield text + len(text).to_bytes(4, "little") + _MAGIC


def _path(chunk: Struct) -> tuple[bytes, ...]:
    return tuple(chunk[_CHUNK][1][_PATH][1][1])


def _moved(data: bytes, chunk: Struct, at: int) -> tuple[list[bytes], Struct]:
    """Return the bytes of a column's pages and of its filter, and its description at another place."""
    described: Struct = dict(chunk[_CHUNK][1])
    places = [each for each in (_DICTIONARY_PLACE, _DATA_PLACE) if each in described]
    begin = min(described[each][1] for each in places)
    parts = [data[begin : begin + described[_PACKED][1]]]
    for each in places:
        described[each] = _I64, described[each][1] - begin + at
    if _BLOOM_PLACE in described:
        place = described[_BLOOM_PLACE][1]
        described[_BLOOM_PLACE] = _I64, at + len(parts[0])
        parts.append(data[place : place + described[_BLOOM_BYTES][1]])
    moved = {key: value for key, value in chunk.items() if key not in _INDEXES}
    return parts, {**moved, _CHUNK: (_STRUCT, described)}
