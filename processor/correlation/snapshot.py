"""All states as one blob: a mark, a version, the clock, then each state behind its length."""

import struct
import zlib

from processor.correlation.state import BadState

_MARK = b"LANNERC\x01"
_HEAD = struct.Struct("<8sqII")
_LENGTH = struct.Struct("<I")


def write_snapshot(now: int, blobs: list[bytes]) -> bytes:
    """Join states.

    Args:
        now: the clock of ticks, ns.
        blobs: encoded entries.
    """
    body = b"".join(_LENGTH.pack(len(blob)) + blob for blob in blobs)
    return _HEAD.pack(_MARK, now, len(blobs), zlib.crc32(body)) + body


def read_snapshot(data: bytes) -> tuple[int, list[bytes]]:
    """Give the clock and the states.

    Raises:
        BadState: the bytes are no snapshot, of another version, or not whole.
    """
    try:
        mark, now, count, checksum = _HEAD.unpack_from(data)
    except struct.error:
        raise BadState("too short for a snapshot") from None
    body = memoryview(data)[_HEAD.size :]
    if mark != _MARK:
        raise BadState("not a snapshot of this version")
    if zlib.crc32(body) != checksum:
        raise BadState("the snapshot is not whole")
    blobs = []
    place = 0
    for _ in range(count):
        (length,) = _LENGTH.unpack_from(body, place)
        place += _LENGTH.size
        blobs.append(bytes(body[place : place + length]))
        place += length
    return now, blobs
