"""Limits of the header and the timestamps of a batch: everything that an honest collector can send, and no more.

A batch comes from a host that may be compromised. Every stage after the decoder can calculate with, encode and store
values within these limits; no later stage checks them again.
"""

from collections.abc import Iterable, Mapping
from hashlib import blake2b
from typing import Any

from schemas.encoding.columns.texts import encode_text

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
MAX_CLOCK = 1 << 62
"""ns from the epoch, either way: the years 1823 to 2116, which leaves room for clock corrections."""
MAX_SEQUENCE = 1 << 40
MAX_COUNT = 1 << 53
MAX_FIRST_INDEX = 1 << 19
"""Plus the maximum number of events in a batch, an index still fits into an event id."""
_MAX_SECONDS = 1e12
_HASH_DIGITS = 16

_NAMES = (
    *("host_id", "hostname", "boot_id", "collector_version", "kernel"),
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
    """Check the header of a batch.

    Args:
        head: the header's values by name.

    Raises:
        ValueError: a value is out of range; the message names it.
    """
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
    for name in ("lost", "watched", "narrowed"):
        if head[name]:
            _check_names(name, head[name])
    lost = head["lost"]
    if lost and not 0 <= min(lost.values()) <= max(lost.values()) < MAX_COUNT:
        raise ValueError("lost: a count out of range")


def check_clocks(raw: Mapping[str, bytes], names: Iterable[str]) -> None:
    """Check columns of timestamps.

    Args:
        raw: columns by name, 64-bit little-endian numbers.
        names: the columns to check.

    Raises:
        ValueError: a column holds a timestamp out of range.
    """
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


def _check_names(name: str, found: Iterable[str]) -> None:
    names = list(found)
    if len(names) > MAX_NAMES:
        raise ValueError(f"{name} holds {len(names)} names")
    for each in names:
        _check_name(name, each)


def _check_name(name: str, text: str) -> None:
    if len(text) > _SHORT and len(encode_text(text)) > MAX_NAME_BYTES:
        raise ValueError(f"{name}: a name of more than {MAX_NAME_BYTES} bytes")
