"""Reads what the broker sends: records decompressed within limits, and messages in order without a gap.

A message of a few bytes can expand to gigabytes. A broker measures messages compressed, and aiokafka decompresses
whatever comes. Here a batch of records that is too large, or that can't be read, is replaced by one record that
describes the error; the consumer dead-letters it, and the records after it are read as usual. A fetch returns at most a
few megabytes; the rest is fetched again.

Faust can skip messages: where a rebalance overlaps with a fetch, it drops what it fetched or takes it for read, reads
on behind it, and commits beyond it. So the order is checked where messages are processed.
"""

import struct
import threading
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import Enum
from typing import Any

import cramjam
from aiokafka.codec import snappy_decode
from aiokafka.consumer import fetcher
from aiokafka.record.default_records import DefaultRecordBatch
from aiokafka.record.memory_records import MemoryRecords

from bus.connection import fault_text
from bus.topics import MAX_MESSAGE_BYTES
from foundation.errors import LannerError

MAX_BATCH_BYTES = 2 * MAX_MESSAGE_BYTES
"""Limit of a batch's records, decompressed. Lanner's clients put at most MAX_MESSAGE_BYTES into one."""
MAX_FETCH_BYTES = 8 << 20
"""Once a fetch of a partition has returned this much, the rest is fetched again, since fetched data waits in memory."""

# Base offset, length, leader epoch, magic, checksum, attributes, last offset delta, first and last time, producer's id,
# epoch and sequence, number of records. Source: Kafka's documentation, "Record Batch".
_HEAD = struct.Struct(">qiibIhiqqqhii")
_OFFSET, _LENGTH = struct.Struct(">q"), struct.Struct(">i")
_LENGTH_AT, _MAGIC_AT, _FORMER_ATTRIBUTES_AT = 8, 16, 17
_LENGTH_OF_REST, _ATTRIBUTES = 1, 5
"""Indexes of the numbers in the head."""
_BEFORE_REST = 12
"""Bytes of the head that the length doesn't count."""
_MAGIC = 2
_CODEC_MASK = 0x07
_XERIAL, _XERIAL_HEADER_BYTES = b"\x82SNAPPY\0", 16

_BUFFERS = threading.local()
"""A buffer per thread: allocating one takes longer than decompressing a batch."""
_IS_FULL = "write whole buffer"
"""cramjam's message if the buffer is too small."""
_SEEK_SECONDS = 10.0
"""Time after which a seek that had no effect is repeated."""


class UnreadableRecord(bytes):
    """The value of a record that replaces others that cannot be read."""

    reason = ""
    """For people."""


class RecordsTooLarge(LannerError, ValueError):
    """Records that decompress to more than the limit."""


@dataclass(frozen=True, slots=True)
class _Record:
    """Replaces records that cannot be read; has the attributes that aiokafka reads."""

    offset: int
    timestamp: int
    timestamp_type: int
    value: UnreadableRecord
    key: None = None
    checksum: None = None
    headers: tuple[()] = ()


class BoundedRecords:
    """The batches of one fetch; replaces aiokafka's MemoryRecords and has its methods."""

    def __init__(self, data: bytes) -> None:
        """Begin. data: as fetched."""
        self._data = memoryview(data)
        self._batches = MemoryRecords(data)
        self._at = 0
        self._given = 0

    def size_in_bytes(self) -> int:
        """Return the size of the whole fetch."""
        size: int = self._batches.size_in_bytes()
        return size

    def has_next(self) -> bool:
        """Return whether there is another batch."""
        return self._given < MAX_FETCH_BYTES and bool(self._batches.has_next())

    def next_batch(self) -> Any:
        """Return the next batch, readable within the limits."""
        batch = self._batches.next_batch()
        start = self._at
        (length,) = _LENGTH.unpack_from(self._data, start + _LENGTH_AT)
        self._at = start + _BEFORE_REST + length
        found = _Batch(batch, self._data[start : self._at])
        self._given += found.size
        return found


class _Batch:
    """One batch of records, as aiokafka sees it; its records are read once."""

    def __init__(self, batch: Any, data: memoryview) -> None:
        self._batch = self._readable = batch
        self._data = data[: _OFFSET.size]
        self._reason = ""
        self.size = len(data)
        """Size in bytes, decompressed."""
        try:
            if (plain := _decompressed(data)) is not None:
                self._readable, self.size = DefaultRecordBatch(plain), len(plain)
        except RecordsTooLarge as error:
            self._reason = str(error)
        except Exception as error:  # noqa: BLE001  whatever a host put there
            self._reason = f"can't be decompressed: {fault_text(error)}"

    def validate_crc(self) -> bool:
        """Return whether the checksum is correct."""
        is_valid: bool = self._batch.validate_crc()
        return is_valid

    def __getattr__(self, name: str) -> Any:
        """Return another attribute of aiokafka's batch: its offsets, its producer, its type."""
        return getattr(self._batch, name)

    def __iter__(self) -> Iterator[Any]:
        """Yield the records; unreadable ones are replaced by one record with the reason."""
        reason, expected = self._reason, _OFFSET.unpack_from(self._data)[0]
        if not reason:
            try:
                for record in self._readable:
                    expected = record.offset + 1
                    size = len(record.value or b"") + len(record.key or b"")
                    yield (
                        record
                        if size <= MAX_MESSAGE_BYTES
                        else self._instead(record.offset, record.offset, f"{size} bytes")
                    )
            except Exception as error:  # noqa: BLE001  such as a header whose name is no text
                reason = f"can't be read: {fault_text(error)}"
        if reason:
            yield self._instead(expected, self._batch.next_offset - 1, reason)

    def _instead(self, first: int, last: int, reason: str) -> _Record:
        value = UnreadableRecord()
        value.reason = f"messages {first} to {last}: {reason}" if last > first else reason
        return _Record(first, getattr(self._batch, "max_timestamp", 0), 1, value)


def use_bounded_records() -> None:
    """Make aiokafka's consumers use BoundedRecords; aiokafka has no setting for it."""
    fetcher.MemoryRecords = BoundedRecords


def _decompressed(data: memoryview) -> bytes | None:
    """Return a batch with its records decompressed; None if they are not compressed.

    Raises:
        RecordsTooLarge: they exceed the limit.
        Exception: the decompressor fails.
    """
    if data[_MAGIC_AT] < _MAGIC:
        if data[_FORMER_ATTRIBUTES_AT] & _CODEC_MASK:
            raise RecordsTooLarge("compressed in a format of messages from before Kafka 0.11")
        return None
    head = list(_HEAD.unpack_from(data))
    codec = head[_ATTRIBUTES] & _CODEC_MASK
    if not codec:
        return None
    records = _CODECS[codec](data[_HEAD.size :])
    head[_ATTRIBUTES] &= ~_CODEC_MASK
    head[_LENGTH_OF_REST] = _HEAD.size - _BEFORE_REST + len(records)
    return b"".join((_HEAD.pack(*head), records))


def _gunzip(data: memoryview) -> bytes:
    found, left = bytearray(), bytes(data)
    while left:
        member = zlib.decompressobj(zlib.MAX_WBITS | 16)
        found += member.decompress(left, MAX_BATCH_BYTES + 1 - len(found))
        if len(found) > MAX_BATCH_BYTES:
            raise _too_large()
        if not member.eof:
            raise EOFError("it ends too early")
        left = member.unused_data
    return bytes(found)


def _unsnappy(data: memoryview) -> bytes:
    # Each block declares its decompressed size, which no decompressor exceeds.
    blocks = _xerial_blocks(data) if bytes(data[: len(_XERIAL)]) == _XERIAL else [data]
    if sum(map(_varint, blocks)) > MAX_BATCH_BYTES:
        raise _too_large()
    return bytes(snappy_decode(bytes(data)))


def _xerial_blocks(data: memoryview) -> Iterator[memoryview]:
    at = _XERIAL_HEADER_BYTES
    while at < len(data):
        (size,) = _LENGTH.unpack_from(data, at)
        if size <= 0:
            # It would cause an endless loop.
            raise ValueError(f"a block of {size} bytes")
        at += _LENGTH.size + size
        yield data[at - size : at]


def _varint(data: memoryview) -> int:
    number = 0
    for index, byte in enumerate(data[:5]):
        number |= (byte & 0x7F) << 7 * index
        if byte < 0x80:
            return number
    raise ValueError("a length that does not end")


def _into_buffer(decompress_into: Callable[[Any, Any], int]) -> Callable[[memoryview], bytes]:
    def decompressed(data: memoryview) -> bytes:
        buffer = getattr(_BUFFERS, "buffer", None)
        if buffer is None:
            # One byte more than the limit, since filling the buffer exactly is not an error.
            buffer = _BUFFERS.buffer = bytearray(MAX_BATCH_BYTES + 1)
        try:
            size = decompress_into(bytes(data), buffer)
        except cramjam.DecompressionError as error:
            if _IS_FULL in str(error):
                raise _too_large() from None
            raise
        return bytes(memoryview(buffer)[:size])

    return decompressed


def _too_large() -> RecordsTooLarge:
    return RecordsTooLarge(f"its records have more than {MAX_BATCH_BYTES} bytes decompressed")


_CODECS: dict[int, Callable[[memoryview], bytes]] = {
    1: _gunzip,
    2: _unsnappy,
    3: _into_buffer(cramjam.lz4.decompress_into),
    4: _into_buffer(cramjam.zstd.decompress_into),
}
"""By their numbers in a batch's attributes."""


class Admission(Enum):
    """The decision about a message."""

    TAKE = "take"
    SKIP = "skip"
    """It was taken before, or is delivered again after the ones that are missing."""
    SEEK = "seek"
    """Messages before it are missing: read again from `next`, and skip this one."""


class ReadOrder:
    """The messages of one partition since it was assigned."""

    def __init__(self, first: int, now: float) -> None:
        """Start. first: the offset from which the group reads; now: a monotonic time, s."""
        self.first = first
        """The offset from which the group reads."""
        self.next = first
        """The offset of the message to be taken next."""
        self._last = -1
        self._checked_at = now
        self._sought_at: float | None = None
        self._restart = -1
        """Where reading started after the last seek, if that was behind `next`."""

    def check(self, offset: int, end: int | None, now: float) -> Admission:
        """Return what to do with the next message that was delivered.

        Args:
            offset: of the message.
            end: the end of the partition, as far as is known.
            now: a monotonic time, s.
        """
        self._checked_at = now
        if offset < self.next:
            # The end is before it only if the topic was deleted and created again.
            if end is not None and end < self.next:
                return self._take(offset)
            self._last = offset
            return Admission.SKIP
        is_restarted = self._sought_at is not None and offset <= self._last
        # The broker no longer has what is missing if reading starts at the same message twice.
        if offset == self.next or (is_restarted and offset == self._restart):
            return self._take(offset)
        self._last = offset
        if is_restarted:
            self._restart = offset
        elif self._sought_at is not None and now - self._sought_at < _SEEK_SECONDS:
            return Admission.SKIP
        self._sought_at = now
        return Admission.SEEK

    def is_overdue(self, end: int, now: float) -> bool:
        """Return whether to read again from `next` because the last messages of the partition are missing.

        No later one shows that they were skipped. Where they only wait to be processed, reading them again is harmless.

        Args:
            end: the end of the partition.
            now: a monotonic time, s.
        """
        if self.next >= end:
            self._checked_at = now
        if now - self._checked_at < _SEEK_SECONDS:
            return False
        self._checked_at = self._sought_at = now
        self._last = end
        return True

    def _take(self, offset: int) -> Admission:
        self.next = offset + 1
        self._sought_at, self._restart = None, -1
        return Admission.TAKE
