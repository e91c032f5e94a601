"""Limits of the header and the timestamps of a batch: everything that an honest collector can send, and no more.

A batch comes from a host that may be compromised. Every stage after the decoder can calculate with, encode and store
values within these limits; no later stage checks them again.
"""

import io
from array import array
from collections.abc import Iterable, Mapping, Sequence
from hashlib import blake2b
from itertools import repeat
from typing import Any

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
        # A lone surrogate that was not decoded from bytes: a container's label from JSON can contain one.
        return text.encode("utf-8", "replace")


def encoded_length(text: str) -> int:
    """Return the length of the bytes that a text was decoded from."""
    return len(text) if text.isascii() else len(encode_text(text))


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
    """Return an upper bound for the length of the texts, in bytes, usually without reading each length (u32 each)."""
    # A length below 4096 has zeros in its upper half, and a value below 16 in its second byte.
    if not (lengths[2::4] + lengths[3::4]).strip(b"\0") and not lengths[1::4].translate(None, _BELOW_4096):
        return _PAGE
    return max(memoryview(lengths).cast("I"), default=0)


MAX_NAME_BYTES = 256
"""Limit of an id or a name. The longest honest value, eight rule versions joined, has 199 bytes."""
MAX_NAMES = 1_000
"""Limit of the number of event types, and of reasons for lost events."""
MAX_CONTAINERS = 10_000
MAX_PROCESS_CHARACTERS = 1 << 20
"""Limit of a process's arguments together, and of its environment: a collector sends at most 64 KiB."""
MAX_CONTAINER_CHARACTERS = 1 << 20
"""Limit of a container's labels together: a collector sends at most 128 labels of 2 KiB."""
MAX_MOUNTS = 256
"""Limit of the mounts of a container; a collector sends no more."""
MAX_SERVERS = 1_000
"""Limit of the servers of a batch; a collector sends at most 256."""
MAX_LISTENING, MAX_LIBRARIES = 8, 64
"""Limits of a server's addresses, and of its libraries' packages; a collector sends no more."""
MAX_CLOCK = 1 << 62
"""ns from the epoch, either way: the years 1823 to 2116, which leaves room for clock corrections."""
MAX_SEQUENCE = 1 << 40
MAX_COUNT = 1 << 53
MAX_FIRST_INDEX = 1 << 19
"""Plus the maximum number of events in a batch, an index still fits into an event id."""
_MAX_SECONDS = 1e12
_HASH_DIGITS = 16

_NAMES = (
    *("host_id", "hostname", "boot_id", "collector_version", "kernel", "os_name", "architecture"),
    *("rules_version", "interest_version"),
)
_TIMES = ("collector_start", "created", "sent", "previous_start")
_NUMBERS = {
    "sequence": (0, MAX_SEQUENCE),
    "previous_sequence": (-1, MAX_SEQUENCE),
    "first_number": (0, MAX_COUNT),
    "first_index": (0, MAX_FIRST_INDEX),
    "memory_bytes": (0, MAX_COUNT),
}
_SHORT = MAX_NAME_BYTES // 4
"""Names of up to so many characters are never too long: a character takes at most four bytes."""
_TOP_BYTES = bytes((*range(0x40), *range(0xC0, 0x100)))
"""The values that the highest byte of a 64-bit timestamp within the limits can have."""


def check_head(head: Mapping[str, Any]) -> None:
    """Check the header of a batch, its values by name. Raises ValueError: one is out of range; the message names it."""
    for name in _NAMES:
        if len(head[name]) > _SHORT:
            _check_name(name, head[name])
    for name in _TIMES:
        if not is_clock(head[name]):
            raise ValueError(f"{name}: timestamp out of range")
    for name, (least, beyond) in _NUMBERS.items():
        if not least <= head[name] < beyond:
            raise ValueError(f"{name} is out of range")
    # Written so that NaN is rejected.
    if not 0 <= head["cpu_seconds"] < _MAX_SECONDS:
        raise ValueError("cpu_seconds is out of range")
    for name in ("lost", "watched", "narrowed", "addresses"):
        if head[name]:
            check_names(name, head[name])
    lost = head["lost"]
    if lost and not 0 <= min(lost.values()) <= max(lost.values()) < MAX_COUNT:
        raise ValueError("lost: a count out of range")


def check_clocks(raw: Mapping[str, bytes], names: Iterable[str]) -> None:
    """Check the named columns of timestamps, 64-bit little-endian numbers. Raises ValueError: one is out of range."""
    for name in names:
        # Check only the highest byte of each number: this takes a twentieth of the time of min and max.
        if raw[name][7::8].translate(None, _TOP_BYTES):
            raise ValueError(f"column {name}: timestamp out of range")


def is_clock(time: int) -> bool:
    """Return whether a timestamp, ns since the epoch, is within the limits."""
    return -MAX_CLOCK <= time < MAX_CLOCK


def check_joined(what: str, texts: Iterable[str], most: int) -> None:
    """Check the total length of texts; a batch may store a text once and refer to it a thousand times.

    Args:
        what: what the texts are, for the error message.
        texts: the texts that one field joins.
        most: the maximum of their characters together.

    Raises:
        ValueError: they are too long.
    """
    if sum(map(len, texts)) > most:
        raise ValueError(f"{what} of more than {most} characters")


def clipped_name(text: str) -> str:
    """Shorten an id or a name to the limit of a batch; a hash at its end keeps different names different."""
    data = encode_text(text)
    # As a batch stores it: an undecodable byte takes three bytes there.
    stored = data.decode("utf-8", "replace").encode()
    if len(stored) <= MAX_NAME_BYTES:
        return text
    digest = blake2b(data, digest_size=_HASH_DIGITS // 2).hexdigest()
    return f"{stored[: MAX_NAME_BYTES - _HASH_DIGITS - 1].decode('utf-8', 'ignore')}#{digest}"


def check_names(name: str, found: Iterable[str], most: int = MAX_NAMES) -> None:
    """Check the number of names, and the length of each. Raises ValueError; the message has what they are, name."""
    names = list(found)
    if len(names) > most:
        raise ValueError(f"{name} holds {len(names)} names")
    for each in names:
        _check_name(name, each)


def _check_name(name: str, text: str) -> None:
    if len(text) > _SHORT and len(encode_text(text)) > MAX_NAME_BYTES:
        raise ValueError(f"{name}: a name of more than {MAX_NAME_BYTES} bytes")
