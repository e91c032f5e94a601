"""All states as one blob: a mark with a version, a checksum, then the clock and each state behind its length."""

import struct
import zlib

from processor.correlation.state.entry import BadState

_MARK = b"LANNERM\x01"
_HEAD = struct.Struct("<8sI")
_COUNTS = struct.Struct("<qI")
_LENGTH = struct.Struct("<I")


def write_snapshot(now: int, blobs: list[bytes]) -> bytes:
    """Join states.

    Args:
        now: the clock of ticks, ns.
        blobs: encoded entries.
    """
    body = _COUNTS.pack(now, len(blobs)) + b"".join(_LENGTH.pack(len(blob)) + blob for blob in blobs)
    return _HEAD.pack(_MARK, zlib.crc32(body)) + body


def read_snapshot(data: bytes) -> tuple[int, list[bytes]]:
    """Return the clock and the states.

    Raises:
        BadState: the bytes are no snapshot, of another version, or not whole.
    """
    if len(data) < _HEAD.size + _COUNTS.size:
        raise BadState("too short for window state")
    mark, checksum = _HEAD.unpack_from(data)
    body = memoryview(data)[_HEAD.size :]
    if mark != _MARK:
        raise BadState("not window state, or of another version")
    if zlib.crc32(body) != checksum:
        raise BadState("the window state is damaged")
    now, count = _COUNTS.unpack_from(body)
    offset = _COUNTS.size
    blobs = []
    for _ in range(count):
        (length,) = _LENGTH.unpack_from(body, offset)
        offset += _LENGTH.size
        blobs.append(bytes(body[offset : offset + length]))
        offset += length
    return now, blobs
