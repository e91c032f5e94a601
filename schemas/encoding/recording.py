"""Recordings: event batches in an Avro object container file, each kept as it was encoded.

Any Avro tool opens one. A block holds one batch, so that a file that was cut off loses at most its last.
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
    """Appends encoded batches to a new file; events are private, so the file is its owner's alone."""

    def __init__(self, path: Path) -> None:
        """Create or replace the file; raises OSError."""
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW
        self._file: BinaryIO = os.fdopen(os.open(path, flags, 0o600), "wb")
        if stat.S_ISREG(os.fstat(self._file.fileno()).st_mode):
            # A file that was there before keeps its mode otherwise; a device's is not ours to change.
            os.fchmod(self._file.fileno(), 0o600)
        head = io.BytesIO()
        fastavro.writer(head, parse_schema(EVENT_BATCH_SCHEMA), [], codec="deflate")
        self._sync = head.getvalue()[-_SYNC_SIZE:]
        self._file.write(head.getvalue())

    def write(self, encoded: bytes) -> None:
        """Append what encode_batch gave; raises OSError where the disk is full."""
        packed = zlib.compressobj(6, zlib.DEFLATED, -15)
        data = packed.compress(encoded[HEADER_SIZE:]) + packed.flush()
        self._file.write(_varint(1) + _varint(len(data)) + data + self._sync)
        self._file.flush()

    def close(self) -> None:
        """Close the file; raises OSError."""
        self._file.close()


def read_recording(path: Path) -> Iterator[EventBatch]:
    """Give the batches of a file in order, whichever release wrote it.

    Raises:
        OSError: it can't be read.
        BadBatch: it is no recording, or one of its batches is broken; what came before is good.
    """
    for header, schema, datum in _blocks(path):
        yield decode_datum(datum, None if header == HEADER else schema)


def read_encoded(path: Path) -> Iterator[bytes]:
    """Give the batches of a file in order, each as it was encoded, whichever release wrote it; none is decoded.

    Raises:
        OSError: it can't be read.
        BadBatch: it is no recording, or it ends in the middle of a batch; what came before is good.
    """
    for header, _, datum in _blocks(path):
        yield header + datum


def _blocks(path: Path) -> Iterator[tuple[bytes, Any, bytes]]:
    """Give header, schema and datum of each batch."""
    with path.open("rb") as file:
        try:
            blocks = fastavro.block_reader(file)
            schema = _schema_of_batches(blocks.writer_schema, path)
            for block in blocks:
                yield schema.header, schema.parsed, block.bytes_.getvalue()  # type: ignore[attr-defined]
        except (OSError, BadBatch):
            raise
        except Exception as error:  # as in the codec: of a broken file fastavro lets anything come out
            raise BadBatch(f"{path} is not a whole recording: {error or type(error).__name__}") from error


def _schema_of_batches(given: Any, path: Path) -> WriterSchema:
    try:
        schema = checked_schema(json.dumps(given))
    except BadSchema as error:
        raise BadBatch(f"{path} is an Avro file, but not of event batches: {error}") from None
    if schema.name != "lanner.EventBatch":
        raise BadBatch(f"{path} is an Avro file, but not of event batches")
    return schema


def _varint(number: int) -> bytes:
    """Write a non-negative long as Avro does: zigzag, seven bits a byte."""
    number <<= 1
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)
