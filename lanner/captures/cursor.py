"""Reads numbers and texts from a block's body, never beyond its end."""

import struct

from lanner.captures.blocks import BadCapture, Block, bad_capture

_SIZES = {code: struct.Struct(f"<{code}") for code in "BHIQq"}


class Cursor:
    """A position in a block.

    Args:
        name: the file, for errors.
        block: the block.
    """

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
        size = _SIZES[code].size
        if self.left < size:
            raise self.error(f"{size} bytes are due, but the entry has {self.left} left")
        (value,) = _SIZES[code].unpack_from(self._block.body, self.at)
        self.at += size
        return int(value)

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
        return self.data(self.number("H"))

    def text(self) -> str:
        """Read a text after its 16-bit size."""
        return text_of(self.sized())


def text_of(data: bytes) -> str:
    """Decode a text up to its first NUL."""
    return data.partition(b"\0")[0].decode("utf-8", "surrogateescape")


def texts_of(data: bytes) -> tuple[str, ...]:
    """Decode texts that each end with NUL; the last one need not. A single empty text is none."""
    data = data.removesuffix(b"\0")
    return tuple(part.decode("utf-8", "surrogateescape") for part in data.split(b"\0")) if data else ()
