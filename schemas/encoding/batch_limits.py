"""What the head and the times of a batch may be: what an honest collector can say, and nothing beyond.

A batch comes from a host that may be taken over. What is within these limits can be calculated with, encoded and kept
by every stage behind the decoder; nothing behind it checks again.
"""

from collections.abc import Iterable, Mapping
from hashlib import blake2b
from typing import Any

from schemas.encoding.columns.texts import encode_text

MAX_NAME_BYTES = 256
"""Of an id or a name; eight versions of rules joined, the longest that is honest, have 199."""
MAX_NAMES = 1_000
"""Of event types, and of reasons of losses."""
MAX_CONTAINERS = 10_000
MAX_PROCESS_CHARACTERS = 1 << 20
"""Of a process's arguments together, or of its variables: a collector takes 64 KiB."""
MAX_CONTAINER_CHARACTERS = 1 << 20
"""Of a container's labels together: a collector takes 128 of 2 KiB."""
MAX_MOUNTS = 256
"""Of a container: a collector takes no more."""
MAX_CLOCK = 1 << 62
"""ns; clocks show less: from 1823 to 2116, with room for what corrects a wrong one."""
MAX_SEQUENCE = 1 << 40
MAX_COUNT = 1 << 53
MAX_FIRST_INDEX = 1 << 19
"""Together with the most events of a batch, an index stays below what ids of events have room for."""
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
_TOP_BYTES = bytes((*range(0x40), *range(0xC0, 0x100)))
"""What the highest byte of a number of 64 bits can be that a clock shows."""


def check_head(head: Mapping[str, Any]) -> None:
    """Check what a batch says of itself.

    Args:
        head: by name.

    Raises:
        ValueError: something is out of range; it is named.
    """
    for name in _NAMES:
        _check_name(name, head[name])
    for name in _TIMES:
        if not is_clock(head[name]):
            raise ValueError(f"{name}: a time that no clock shows")
    for name, (least, beyond) in _NUMBERS.items():
        if not least <= head[name] < beyond:
            raise ValueError(f"{name} is out of range")
    # Written so that NaN is refused.
    if not 0 <= head["cpu_seconds"] < _MAX_SECONDS:
        raise ValueError("cpu_seconds is out of range")
    lost = head["lost"]
    _check_names("lost", lost)
    if lost and not 0 <= min(lost.values()) <= max(lost.values()) < MAX_COUNT:
        raise ValueError("lost: a count out of range")
    for name in ("watched", "narrowed"):
        _check_names(name, head[name])


def check_clocks(raw: Mapping[str, bytes], names: Iterable[str]) -> None:
    """Check columns of times.

    Args:
        raw: by name, numbers of 64 bits, little-endian.
        names: those to check.

    Raises:
        ValueError: one holds a time that no clock shows.
    """
    for name in names:
        # Only the highest byte of each number is looked at: that takes a twentieth of the time that min and max do.
        if raw[name][7::8].translate(None, _TOP_BYTES):
            raise ValueError(f"column {name}: a time that no clock shows")


def is_clock(time: int) -> bool:
    """Return whether a clock can show a time, ns since the epoch."""
    return -MAX_CLOCK <= time < MAX_CLOCK


def check_joined(what: str, texts: Iterable[str], most: int) -> None:
    """Check how long texts are together, which a batch may hold once and a row name a thousand times.

    Args:
        what: for people.
        texts: those that one field joins.
        most: characters of all.

    Raises:
        ValueError: they are too long.
    """
    if sum(map(len, texts)) > most:
        raise ValueError(f"{what} of more than {most} characters")


def clipped_name(text: str) -> str:
    """Shorten an id or a name that is longer than a batch may hold; those that differ stay different."""
    data = encode_text(text)
    # As a batch holds it: a byte that is no text takes three there.
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
    # No character takes more than four bytes.
    if len(text) * 4 > MAX_NAME_BYTES and len(encode_text(text)) > MAX_NAME_BYTES:
        raise ValueError(f"{name}: a name of more than {MAX_NAME_BYTES} bytes")
