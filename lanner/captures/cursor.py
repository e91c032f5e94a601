"""Reads numbers and texts from a block's body, never beyond its end."""

import struct

from lanner.captures.blocks import BadCapture, Block, bad_capture

_SIZES = {code: struct.Struct(f"<{code}") for code in "BHIQq"}


MAX_TEXT = 4096
"""Bytes of a name or path that are read; Falco records at most 1024."""
MAX_TEXTS = 8192
"""Bytes of arguments, of an environment, or of cgroups that are read; Falco records at most 4096."""


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
