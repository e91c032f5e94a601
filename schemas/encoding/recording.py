"""Recordings: event batches in an Avro object container file, each stored as it was encoded.

Any Avro tool can read them. A block holds one batch, so a truncated file loses at most its last batch.
Format: the Avro specification, "Object container files".
"""

import io
import json
import os
import stat
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import fastavro
from fastavro.schema import parse_schema

from schemas.batch import EventBatch
from schemas.codec import EVENT_BATCH_SCHEMA, HEADER, BadBatch, decode_datum
from schemas.encoding.wire import HEADER_SIZE, BadSchema, WriterSchema, checked_schema

_SYNC_SIZE = 16


class RecordingWriter:
    """Appends encoded batches to a new file. Events are private, so only the file's owner may read it."""

    def __init__(self, path: Path) -> None:
        """Create or replace the file. Raises OSError."""
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW
        self._file: BinaryIO = os.fdopen(os.open(path, flags, 0o600), "wb")
        if stat.S_ISREG(os.fstat(self._file.fileno()).st_mode):
            # An existing file would keep its mode otherwise. The mode of a device is left alone.
            os.fchmod(self._file.fileno(), 0o600)
        head = io.BytesIO()
        fastavro.writer(head, parse_schema(EVENT_BATCH_SCHEMA), [], codec="deflate")
        self._sync = head.getvalue()[-_SYNC_SIZE:]
        self._file.write(head.getvalue())

    def write(self, encoded: bytes) -> None:
        """Append a batch that encode_batch returned. Raises OSError, for example if the disk is full."""
        packed = zlib.compressobj(6, zlib.DEFLATED, -15)
        data = packed.compress(encoded[HEADER_SIZE:]) + packed.flush()
        self._file.write(_varint(1) + _varint(len(data)) + data + self._sync)
        self._file.flush()

    def close(self) -> None:
        """Close the file. Raises OSError."""
        self._file.close()


def read_recording(path: Path) -> Iterator[EventBatch]:
    """Yield the batches of a file in order, whichever release wrote it.

    Raises:
        OSError: the file can't be read.
        BadBatch: the file is not a recording, or a batch is damaged; the batches before it are valid.
    """
    for header, schema, datum in _blocks(path):
        yield decode_datum(datum, None if header == HEADER else schema)


def read_encoded(path: Path) -> Iterator[bytes]:
    """Yield the batches of a file in order as they were encoded, without decoding them.

    Raises:
        OSError: the file can't be read.
        BadBatch: the file is not a recording, or it is truncated; the batches before the damage are valid.
    """
    for header, _, datum in _blocks(path):
        yield header + datum


def _blocks(path: Path) -> Iterator[tuple[bytes, Any, bytes]]:
    """Yield header, schema and datum of each batch."""
    with path.open("rb") as file:
        try:
            blocks = fastavro.block_reader(file)
            schema = _schema_of_batches(blocks.writer_schema, path)
            for block in blocks:
                yield schema.header, schema.parsed, block.bytes_.getvalue()  # type: ignore[attr-defined]
        except (OSError, BadBatch):
            raise
        except Exception as error:  # fastavro may raise anything for a damaged file
            raise BadBatch(f"{path} is not a complete recording: {error or type(error).__name__}") from error


def _schema_of_batches(given: Any, path: Path) -> WriterSchema:
    try:
        schema = checked_schema(json.dumps(given))
    except BadSchema as error:
        raise BadBatch(f"{path} is an Avro file, but it does not hold event batches: {error}") from None
    if schema.name != "lanner.EventBatch":
        raise BadBatch(f"{path} is an Avro file, but it does not hold event batches")
    return schema


def _varint(number: int) -> bytes:
    """Encode a non-negative long as Avro does: zigzag, seven bits per byte."""
    number <<= 1
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)
