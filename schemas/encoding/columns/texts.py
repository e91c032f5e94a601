"""The texts of a batch on the wire: their concatenated bytes, and a column of their lengths.

Lengths need fewer checks than offsets would: they have no order, and either add up to the number of bytes or don't.
"""

import io
from array import array
from collections.abc import Iterable, Sequence
from itertools import repeat

MAX_TEXTS = 1_000_000
MAX_TEXT_BYTES = 256 << 10
"""Limit of one text. The longest that a collector sends is a process's environment in one text, of 64 KiB."""
_PAGE = 4096
_BELOW_4096 = bytes(range(_PAGE >> 8))


class TextTable(dict[str | None, int]):
    """Indices by text; looking up a new text assigns the next index. None has index 0."""

    def __init__(self, texts: Iterable[str | None]) -> None:
        """Create a table with texts whose indices are fixed; the first represents None."""
        self.texts: list[str] = [text or "" for text in texts]
        super().__init__(zip(self.texts, range(len(self.texts)), strict=True))
        self[None] = 0
        if self.get("") == 0:
            del self[""]

    def __missing__(self, text: str | None) -> int:
        """Assign the next index to a new text."""
        index = self[text] = len(self.texts)
        self.texts.append(text or "")
        return index


def encode_text(text: str) -> bytes:
    """Return the bytes that a text was decoded from."""
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        # A lone surrogate that was not decoded from bytes: a container's label from JSON can hold one.
        return text.encode("utf-8", "replace")


def pack_texts(texts: Sequence[str]) -> tuple[bytes, bytes]:
    """Return the concatenated bytes of all texts, and their lengths as a column of u32."""
    try:
        encoded = list(map(str.encode, texts, repeat("utf-8"), repeat("surrogateescape")))
    except UnicodeEncodeError:
        encoded = list(map(encode_text, texts))
    return b"".join(encoded), array("I", map(len, encoded)).tobytes()


def unpack_texts(data: bytes, lengths: bytes) -> list[str | None]:
    """Return the texts of a batch by index, None at index 0.

    Raises:
        ValueError: the lengths don't match the bytes, or there are too many.
    """
    if len(lengths) % 4 or not 0 < len(lengths) <= 4 * MAX_TEXTS:
        raise ValueError(f"the column of text lengths has {len(lengths)} bytes")
    sizes = memoryview(lengths).cast("I")
    if sizes[0]:
        raise ValueError("text 0 is not empty")
    if sum(sizes) != len(data):
        raise ValueError(f"the texts have {len(data)} bytes, but their lengths add up to {sum(sizes)}")
    if longest_of(lengths) > MAX_TEXT_BYTES:
        raise ValueError(f"a text of {max(sizes)} bytes")
    read = io.BytesIO(data).read
    texts: list[str | None]
    if data.isascii():
        # The same result in five sixths of the time.
        texts = list(map(bytes.decode, map(read, sizes)))
    else:
        texts = [read(size).decode("utf-8", "surrogateescape") for size in sizes]
    texts[0] = None
    return texts


def longest_of(lengths: bytes) -> int:
    """Return an upper bound for the length of the texts, in bytes, usually without reading each length.

    Args:
        lengths: a column of u32, little-endian.
    """
    # A length below 4096 has zeros in its upper half, and a value below 16 in its second byte.
    if not (lengths[2::4] + lengths[3::4]).strip(b"\0") and not lengths[1::4].translate(None, _BELOW_4096):
        return _PAGE
    return max(memoryview(lengths).cast("I"), default=0)
