"""The texts of a batch on the wire: their bytes one after another, and a column of their lengths.

Lengths rather than places, because they need no order: whatever they are, they either add up to the bytes or don't.
"""

import io
from array import array
from collections.abc import Iterable, Sequence
from itertools import repeat

MAX_TEXTS = 1_000_000
MAX_TEXT_BYTES = 256 << 10
"""A collector's longest is a process's environment in one text, of 64 KiB."""
_PAGE = 4096
_BELOW_4096 = bytes(range(_PAGE >> 8))


class TextTable(dict[str | None, int]):
    """Indices by text, which go up as texts are asked for that aren't there yet; None is 0."""

    def __init__(self, texts: Iterable[str | None]) -> None:
        """Begin with texts whose indices are settled, the first standing for None."""
        self.texts: list[str] = [text or "" for text in texts]
        super().__init__(zip(self.texts, range(len(self.texts)), strict=True))
        self[None] = 0
        if self.get("") == 0:
            del self[""]

    def __missing__(self, text: str | None) -> int:
        """Give a new text the next index."""
        index = self[text] = len(self.texts)
        self.texts.append(text or "")
        return index


def encode_text(text: str) -> bytes:
    """Give a text the bytes that it was made of."""
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        # A lone surrogate that never was bytes: a container's label from JSON can hold one.
        return text.encode("utf-8", "replace")


def pack_texts(texts: Sequence[str]) -> tuple[bytes, bytes]:
    """Give the bytes of all texts, and their lengths as a column of u32."""
    try:
        encoded = list(map(str.encode, texts, repeat("utf-8"), repeat("surrogateescape")))
    except UnicodeEncodeError:
        encoded = list(map(encode_text, texts))
    return b"".join(encoded), array("I", map(len, encoded)).tobytes()


def unpack_texts(data: bytes, lengths: bytes) -> list[str | None]:
    """Give the texts of a batch by index, None for index 0.

    Raises:
        ValueError: the lengths are not those of the bytes, or there are too many.
    """
    if len(lengths) % 4 or not 0 < len(lengths) <= 4 * MAX_TEXTS:
        raise ValueError(f"{len(lengths)} bytes of lengths of texts in one batch")
    sizes = memoryview(lengths).cast("I")
    if sizes[0]:
        raise ValueError("text 0 is not empty")
    if sum(sizes) != len(data):
        raise ValueError(f"the texts have {len(data)} bytes and not the {sum(sizes)} of their lengths")
    if longest_of(lengths) > MAX_TEXT_BYTES:
        raise ValueError(f"a text of {max(sizes)} bytes")
    read = io.BytesIO(data).read
    texts: list[str | None] = [read(size).decode("utf-8", "surrogateescape") for size in sizes]
    texts[0] = None
    return texts


def longest_of(lengths: bytes) -> int:
    """Return a bound for the longest of texts, in bytes, without a look at each.

    Args:
        lengths: a column of u32, little-endian.
    """
    # A length below 4096 has nothing in its upper half, and little in the byte before.
    if not (lengths[2::4] + lengths[3::4]).strip(b"\0") and not lengths[1::4].translate(None, _BELOW_4096):
        return _PAGE
    return max(memoryview(lengths).cast("I"), default=0)
