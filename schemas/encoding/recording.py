"""Recordings: event batches, or alerts, in an Avro object container file, each stored as it was encoded.

Any Avro tool can read them. A block contains one message, so a truncated file loses at most its last one.
Format: the Avro specification, "Object container files".
"""

import contextlib
import io
import os
import stat
import zlib
from collections.abc import Generator, Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import fastavro
from fastavro.schema import parse_schema

from foundation.files import PRIVATE, open_private
from schemas.batch import EventBatch
from schemas.encoding.batch import EVENT_BATCH_FORMAT, EVENT_BATCH_SCHEMA, HEADER, BadBatch, decode_datum
from schemas.encoding.wire import HEADER_SIZE, BadSchema, MessageFormat, WriterSchema, checked_schema, varint

_MAGIC = b"Obj\x01"
_SYNC_SIZE = 16
_MAX_VARINT = 10
"""Bytes of a number of 64 bits."""
MAX_HEADER_BYTES = 4 << 20
"""Limit of the texts in a header; that of an incident lists its alerts."""
MAX_MESSAGE_BYTES = 8 << 20
"""Limit of a message: twice that of the broker's topics. Decoded, a hostile one takes some thirty times as much."""


def is_container(beginning: bytes) -> bool:
    """Return whether a file is an Avro container by its first bytes."""
    return beginning.startswith(_MAGIC)


class RecordingWriter:
    """Appends encoded messages to a new file. Events are private, so only the file's owner may read it."""

    def __init__(
        self,
        path: Path,
        schema: dict[str, Any] = EVENT_BATCH_SCHEMA,
        *,
        level: int = 6,
        metadata: Mapping[str, str] | None = None,
    ) -> None:
        """Create or replace the file. Raises OSError.

        Args:
            path: the file.
            schema: of the messages.
            level: of the compression, 1 (fast) to 9 (small).
            metadata: texts for the file's header, by name.
        """
        self._level = level
        self._file: BinaryIO = os.fdopen(open_private(path, os.O_WRONLY | os.O_TRUNC), "wb")
        if stat.S_ISREG(os.fstat(self._file.fileno()).st_mode):
            # An existing file would keep its mode otherwise. The mode of a device is left alone.
            os.fchmod(self._file.fileno(), PRIVATE)
        head = io.BytesIO()
        fastavro.writer(head, parse_schema(schema), [], codec="deflate", metadata=dict(metadata or {}))
        self._sync = head.getvalue()[-_SYNC_SIZE:]
        self._file.write(head.getvalue())

    def write(self, encoded: bytes) -> None:
        """Append a message with its header, such as encode_batch returns. Raises OSError, as on a full disk."""
        packed = zlib.compressobj(self._level, zlib.DEFLATED, -15)
        data = packed.compress(encoded[HEADER_SIZE:]) + packed.flush()
        self._file.write(varint(1) + varint(len(data)) + data + self._sync)
        self._file.flush()

    def close(self) -> None:
        """Close the file. Raises OSError."""
        self._file.close()


def read_recording(path: Path) -> Generator[EventBatch]:
    """Yield the batches of a file in order, whichever release wrote it.

    Raises:
        OSError: the file can't be read.
        BadBatch: the file is not a recording, or a batch is damaged; the batches before it are valid.
    """
    with path.open("rb") as file:
        yield from read_open_recording(file, path)


def read_open_recording(file: BinaryIO, path: Path) -> Iterator[EventBatch]:
    """Yield the batches of an open file, which may be a pipe, as read_recording does; path: for errors."""
    for schema, datum in _open_blocks(file, path, EVENT_BATCH_FORMAT, "event batches"):
        yield decode_datum(datum, None if schema.header == HEADER else schema.parsed)


def read_encoded(path: Path) -> Iterator[bytes]:
    """Yield the batches of a file in order as they were encoded, without decoding them.

    Raises:
        OSError: the file can't be read.
        BadBatch: the file is not a recording, or it is truncated; the batches before the damage are valid.
    """
    for schema, datum in read_blocks(path, EVENT_BATCH_FORMAT, "event batches"):
        yield schema.header + datum


def count_messages(path: Path) -> int:
    """Return the number of messages in a recording of any kind; of a damaged file, those before the damage."""
    number = 0
    with contextlib.suppress(OSError, ValueError), path.open("rb") as file:
        for _ in _Container(file).packed():
            number += 1
    return number


def read_metadata(file: BinaryIO, path: Path) -> Mapping[str, bytes]:
    """Return the texts in an open file's header by name, as encoded; path: for errors. Raises OSError, BadBatch."""
    return _container(file, path).metadata


def read_blocks(path: Path, expected: MessageFormat, what: str) -> Iterator[tuple[WriterSchema, bytes]]:
    """Yield the schema and the datum of each message of the expected kind. what: their name in errors.

    Raises:
        OSError: the file can't be read.
        BadBatch: the file does not contain such messages, or it is truncated; the messages before the damage are valid.
    """
    with path.open("rb") as file:
        yield from _open_blocks(file, path, expected, what)


def _open_blocks(
    file: BinaryIO, path: Path, expected: MessageFormat, what: str
) -> Iterator[tuple[WriterSchema, bytes]]:
    container = _container(file, path)
    schema = _schema_of(container.metadata, expected, f"{path} is an Avro file, but it does not hold {what}")
    try:
        for message in container.messages():
            yield schema, message
    except ValueError as error:
        raise BadBatch(f"{path} is not a complete recording: {error}") from error


def _container(file: BinaryIO, path: Path) -> "_Container":
    try:
        return _Container(file)
    except ValueError as error:
        raise BadBatch(f"{path} is not a complete recording: {error}") from error


class _Container:
    """An open container file, of which one message at a time is in memory.

    fastavro decompresses a block whatever its size, and reads as much as a header claims: half a megabyte of zeros that
    were deflated would be half a gigabyte.
    """

    def __init__(self, file: BinaryIO) -> None:
        """Read the header. Raises OSError; ValueError if it is none."""
        self._file = file
        if self._exactly(len(_MAGIC)) != _MAGIC:
            raise ValueError("it does not begin as an Avro file")
        self.metadata: dict[str, bytes] = {}
        left = MAX_HEADER_BYTES
        while count := self._long():
            if count < 0:
                count = -count
                self._long()
            for _ in range(count):
                name, value = self._sized(left), self._sized(left)
                left -= len(name) + len(value) + 1
                self.metadata[name.decode("utf-8", "replace")] = value
        self._codec = self.metadata.get("avro.codec", b"null")
        if self._codec not in {b"null", b"deflate"}:
            raise ValueError(f"its codec is {self._codec.decode('utf-8', 'replace')}; only deflate is read")
        self._sync = self._exactly(_SYNC_SIZE)

    def messages(self) -> Iterator[bytes]:
        """Yield the messages. Raises OSError; ValueError if the file is damaged or one is too large."""
        for packed in self.packed():
            if self._codec == b"null":
                yield packed
                continue
            unpack = zlib.decompressobj(-15)
            try:
                found = unpack.decompress(packed, MAX_MESSAGE_BYTES + 1)
            except zlib.error as error:
                raise ValueError(f"the compressed data is damaged: {error}") from None
            if len(found) > MAX_MESSAGE_BYTES:
                raise ValueError(f"a message has more than {MAX_MESSAGE_BYTES:,} bytes")
            yield found

    def packed(self) -> Iterator[bytes]:
        """Yield the messages as they are stored. Raises OSError; ValueError if the file is damaged."""
        while (count := self._long(may_end=True)) is not None:
            if count != 1:
                raise ValueError(f"a block of {count:,} messages; Lanner writes one in each")
            packed = self._sized(MAX_MESSAGE_BYTES)
            if self._exactly(_SYNC_SIZE) != self._sync:
                raise ValueError("a block does not end with the mark that the header defines")
            yield packed

    def _long(self, *, may_end: bool = False) -> int | None:
        """Read a number; None at the end of the file, if it may end here."""
        number = 0
        for shift in range(0, _MAX_VARINT * 7, 7):
            data = self._file.read(1)
            if not data:
                if may_end and not shift:
                    return None
                raise ValueError("it is truncated")
            number |= (data[0] & 0x7F) << shift
            if data[0] < 0x80:
                return number >> 1 ^ -(number & 1)
        raise ValueError("a number has too many bytes")

    def _sized(self, most: int) -> bytes:
        size = self._long() or 0
        if not 0 <= size <= most:
            raise ValueError(f"a value claims {size:,} bytes; at most {most:,} are read")
        return self._exactly(size)

    def _exactly(self, size: int) -> bytes:
        data = self._file.read(size)
        if len(data) < size:
            raise ValueError("it is truncated")
        return data


def _schema_of(metadata: Mapping[str, bytes], expected: MessageFormat, refusal: str) -> WriterSchema:
    try:
        schema = checked_schema(metadata.get("avro.schema", b"").decode("utf-8", "replace"))
    except BadSchema as error:
        raise BadBatch(f"{refusal}: {error}") from None
    if schema.name != expected.name:
        raise BadBatch(refusal)
    return schema
