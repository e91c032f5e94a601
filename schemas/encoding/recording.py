"""Recordings: event batches, or alerts, in an Avro object container file, each stored as it was encoded.

Any Avro tool can read them. A block holds one message, so a truncated file loses at most its last one.
Format: the Avro specification, "Object container files".
"""

import io
import json
import os
import stat
import zlib
from collections.abc import Generator, Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import fastavro
from fastavro.schema import parse_schema

from schemas.batch import EventBatch
from schemas.codec import EVENT_BATCH_FORMAT, EVENT_BATCH_SCHEMA, HEADER, BadBatch, decode_datum
from schemas.encoding.wire import HEADER_SIZE, BadSchema, MessageFormat, WriterSchema, checked_schema

_MAGIC = b"Obj\x01"
_SYNC_SIZE = 16


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
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW
        self._file: BinaryIO = os.fdopen(os.open(path, flags, 0o600), "wb")
        if stat.S_ISREG(os.fstat(self._file.fileno()).st_mode):
            # An existing file would keep its mode otherwise. The mode of a device is left alone.
            os.fchmod(self._file.fileno(), 0o600)
        head = io.BytesIO()
        fastavro.writer(head, parse_schema(schema), [], codec="deflate", metadata=dict(metadata or {}))
        self._sync = head.getvalue()[-_SYNC_SIZE:]
        self._file.write(head.getvalue())

    def write(self, encoded: bytes) -> None:
        """Append a message with its header, such as encode_batch returns. Raises OSError, as on a full disk."""
        packed = zlib.compressobj(self._level, zlib.DEFLATED, -15)
        data = packed.compress(encoded[HEADER_SIZE:]) + packed.flush()
        self._file.write(_varint(1) + _varint(len(data)) + data + self._sync)
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
    try:
        with path.open("rb") as file:
            for _ in fastavro.block_reader(file):
                number += 1
    except Exception:  # noqa: BLE001  fastavro may raise anything for a damaged file
        return number
    return number


def read_blocks(path: Path, expected: MessageFormat, what: str) -> Iterator[tuple[WriterSchema, bytes]]:
    """Yield the schema and the datum of each message.

    Args:
        path: the file.
        expected: the kind of its messages.
        what: what they are called in errors.

    Raises:
        OSError: the file can't be read.
        BadBatch: the file does not hold such messages, or it is truncated; the messages before the damage are valid.
    """
    with path.open("rb") as file:
        yield from _open_blocks(file, path, expected, what)


def _open_blocks(
    file: BinaryIO, path: Path, expected: MessageFormat, what: str
) -> Iterator[tuple[WriterSchema, bytes]]:
    try:
        blocks = fastavro.block_reader(file)
        schema = _schema_of(blocks.writer_schema, expected, f"{path} is an Avro file, but it does not hold {what}")
        for block in blocks:
            yield schema, block.bytes_.getvalue()  # type: ignore[attr-defined]
    except (OSError, BadBatch):
        raise
    except Exception as error:  # fastavro may raise anything for a damaged file
        raise BadBatch(f"{path} is not a complete recording: {error or type(error).__name__}") from error


def _schema_of(given: Any, expected: MessageFormat, refusal: str) -> WriterSchema:
    try:
        schema = checked_schema(json.dumps(given))
    except BadSchema as error:
        raise BadBatch(f"{refusal}: {error}") from None
    if schema.name != expected.name:
        raise BadBatch(refusal)
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
