"""The blocks of a capture file, plain or compressed by gzip, read as a stream.

Format: a section header, then blocks of a type, a length, a body and the length again; all numbers little-endian.
Source: libscap's scap_savefile.h; the layout is that of pcapng.
"""

import struct
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from io import BytesIO
from typing import BinaryIO

from lanner.errors import BadInput

_SECTION, _MAGIC, _SWAPPED = 0x0A0D0D0A, 0x1A2B3C4D, 0x4D3C2B1A
SECTION_BYTES = _SECTION.to_bytes(4, "little")
GZIP_BYTES = b"\x1f\x8b"
_HEAD = struct.Struct("<II")
_LENGTH = struct.Struct("<I")
_FRAME = _HEAD.size + _LENGTH.size
_MAJOR = 1
MAX_LIST, MAX_EVENT = 64 << 20, 4 << 20
"""Bytes of a block's body. A process list is one block, at most 20 KiB for each of a host's processes."""
_PIECE = 1 << 16


class BadCapture(BadInput):
    """A capture file is damaged, or it is none."""


def bad_capture(name: str, at: int, problem: str) -> BadCapture:
    """Return the error for a problem at a place of a capture file."""
    return BadCapture(f"{name}: at byte {at:,}: {problem}.")


@dataclass(frozen=True, slots=True)
class Block:
    """One block."""

    type: int
    at: int
    """Where the body begins, after decompression."""
    body: bytes


class CaptureStream:
    """Reads exact numbers of bytes of a file that may be a pipe. name: what errors call it."""

    def __init__(self, file: BinaryIO, name: str) -> None:
        self.name = name
        self.at = 0
        """Bytes consumed, after decompression."""
        self.consumed = 0
        """Bytes read from the file itself."""
        self._file = file
        self._ready, self._next = b"", 0
        self._ended = False
        self._pending = 0
        """Bytes in memory that are not consumed, while more are read."""
        first = self._file_bytes(len(SECTION_BYTES))
        self._unpack = zlib.decompressobj(wbits=31) if first[:2] == GZIP_BYTES else None
        self._rest = first

    def _file_bytes(self, size: int) -> bytes:
        data = self._file.read(size)
        self.consumed += len(data)
        return data

    def _more(self) -> bytes:
        """Return some further bytes, or notice the end."""
        data, self._rest = self._rest, b""
        if self._unpack is None:
            data = data or self._file_bytes(_PIECE)
            self._ended = not data
            return data
        if self._unpack.eof:
            # Concatenated files: a further member may follow.
            data = self._unpack.unused_data or self._file_bytes(_PIECE)
            if not data:
                self._ended = True
                return b""
            self._unpack = zlib.decompressobj(wbits=31)
        elif not (data := data or self._file_bytes(_PIECE)):
            raise bad_capture(self.name, self.at + self._pending, "the compressed data is truncated")
        try:
            # At most one piece at a time comes out, whatever the input claims.
            found = self._unpack.decompress(data, _PIECE)
        except zlib.error:
            raise bad_capture(self.name, self.at + self._pending, "the compressed data is damaged") from None
        # At the end of a member, the unused data is also in the tail.
        self._rest = b"" if self._unpack.eof else self._unpack.unconsumed_tail
        return found

    def read(self, size: int) -> bytes:
        """Return the next bytes; fewer only at the end of the file. Raises BadCapture."""
        if len(self._ready) - self._next < size and not self._ended:
            # Unlike a list of pieces, this stores a large block once.
            found = BytesIO()
            found.write(self._ready[self._next :])
            self._ready, self._next = b"", 0
            while (missing := size - found.tell()) > 0 and not self._ended:
                self._pending = found.tell()
                piece = self._more()
                found.write(piece[:missing])
                self._ready = piece[missing:]
            data = found.getvalue()
        else:
            data = self._ready[self._next : self._next + size]
            self._next += len(data)
        self.at += len(data)
        return data

    def window(self) -> tuple[bytes, int]:
        """Return the bytes in memory, and where the next ones begin in them."""
        return self._ready, self._next

    def consume(self, size: int) -> None:
        """Go past bytes of the window."""
        self._next += size
        self.at += size

    def exactly(self, size: int, what: str) -> bytes:
        """Return the next bytes. Raises BadCapture if the file ends before."""
        start = self.at
        data = self.read(size)
        if len(data) < size:
            raise bad_capture(self.name, start, f"the file ends within {what}: {size:,} bytes are due")
        return data

    def skip(self, size: int, what: str) -> None:
        """Discard the next bytes. Raises BadCapture if the file ends before."""
        while size:
            size -= len(self.exactly(min(size, _PIECE), what))


def blocks(stream: CaptureStream, wanted: Mapping[int, int]) -> Iterator[Block]:
    """Yield the blocks of a capture; of types that are not to be read, only the type.

    wanted: by type, the number of bytes that a block may have. Raises BadCapture if the file is not a capture, or
    damaged; the blocks before are valid.
    """
    is_first = True
    while True:
        start = stream.at
        head = stream.read(_HEAD.size)
        if not head and not is_first:
            return
        if len(head) < _HEAD.size:
            raise bad_capture(stream.name, start, "the file ends within the head of a block")
        kind, length = _HEAD.unpack(head)
        if is_first and kind != _SECTION:
            raise bad_capture(stream.name, start, "this is no capture: it does not begin with a section header")
        if length < _FRAME:
            raise bad_capture(stream.name, start, f"a block claims a length of {length:,} bytes")
        size = length - _FRAME
        body = b""
        if kind == _SECTION:
            _check_section(stream, size, start)
        elif kind not in wanted:
            stream.skip(size, f"a block of type {kind:#x}")
        elif size > wanted[kind]:
            raise bad_capture(stream.name, start, f"a block claims {length:,} bytes; at most {wanted[kind]:,} are read")
        else:
            body = stream.exactly(size, f"a block of type {kind:#x}")
        (again,) = _LENGTH.unpack(stream.exactly(_LENGTH.size, "the end of a block"))
        if again != length:
            problem = f"a block of {length:,} bytes ends with another length, {again:,}"
            raise bad_capture(stream.name, stream.at - _LENGTH.size, problem)
        if kind != _SECTION:
            yield Block(kind, start + _HEAD.size, body)
        is_first = False


def _check_section(stream: CaptureStream, size: int, start: int) -> None:
    if size < 16:
        raise bad_capture(stream.name, start, "the section header is too short")
    magic, major = struct.unpack_from("<IH", stream.exactly(16, "the section header"))
    if magic == _SWAPPED:
        raise bad_capture(stream.name, start, "the capture was made on a big-endian host, which is not supported")
    if magic != _MAGIC:
        raise bad_capture(stream.name, start, "the section header lacks its magic number")
    if major > _MAJOR:
        raise bad_capture(stream.name, start, f"captures of major version {major} are not supported")
    stream.skip(size - 16, "the section header")


_SIZES = {code: struct.Struct(f"<{code}") for code in "BHIQq"}


MAX_TEXT = 4096
"""Bytes of a name or path that are read; Falco records at most 1024."""
MAX_TEXTS = 8192
"""Bytes of arguments, of an environment, or of cgroups that are read; Falco records at most 4096."""


class Cursor:
    """A position in a block of a file."""

    __slots__ = ("_block", "_name", "at", "end")

    def __init__(self, name: str, block: Block) -> None:
        self._name = name
        self._block = block
        self.at = 0
        self.end = len(block.body)

    @property
    def left(self) -> int:
        """Bytes up to the end of the entry, or of the block."""
        return self.end - self.at

    def error(self, problem: str) -> BadCapture:
        """Return the error for a problem at this position."""
        return bad_capture(self._name, self._block.at + self.at, problem)

    def number(self, code: str) -> int:
        """Read a number of a struct format character."""
        return self.numbers(_SIZES[code])[0]

    def numbers(self, layout: struct.Struct) -> tuple[int, ...]:
        """Read several numbers."""
        if self.left < layout.size:
            raise self.error(f"{layout.size} bytes are due, but the entry has {self.left} left")
        self.at += layout.size
        return layout.unpack_from(self._block.body, self.at - layout.size)

    def number_if_left(self, code: str, default: int) -> int:
        """Read a number that older writers don't write."""
        return self.number(code) if self.left >= _SIZES[code].size else default

    def data(self, size: int) -> bytes:
        """Read some bytes."""
        if self.left < size:
            raise self.error(f"{size:,} bytes are due, but the entry has {self.left:,} left")
        self.at += size
        return self._block.body[self.at - size : self.at]

    def sized(self) -> bytes:
        """Read bytes after their 16-bit size."""
        start, body = self.at + 2, self._block.body
        if start <= self.end:
            stop = start + (body[start - 2] | body[start - 1] << 8)
            if stop <= self.end:
                self.at = stop
                return body[start:stop]
        return self.data(self.number("H"))

    def text(self) -> str:
        """Read a text after its 16-bit size; no more of it than a path may have."""
        return text_of(self.sized()[:MAX_TEXT])


def text_of(data: bytes) -> str:
    """Decode a text up to its first NUL."""
    return data.partition(b"\0")[0].decode("utf-8", "surrogateescape")


def texts_of(data: bytes) -> tuple[str, ...]:
    """Decode texts that each end with NUL; the last one need not. A single empty text is none.

    What is longer than any list of texts that Falco records is not decoded.
    """
    if not data:
        return ()
    text = data[:MAX_TEXTS].removesuffix(b"\0").decode("utf-8", "surrogateescape")
    return tuple(text.split("\0")) if text else ()
