"""Durations and sizes as texts, such as 90s, 30m, 24h, 1m30s or 256MB."""

import re
from collections.abc import Collection

UNITS = {"ns": 1, "us": 10**3, "ms": 10**6, "s": 10**9, "m": 60 * 10**9, "h": 3600 * 10**9, "d": 86400 * 10**9}
"""Nanoseconds."""
_SIZES = {"KB": 10**3, "MB": 10**6, "GB": 10**9, "KIB": 1 << 10, "MIB": 1 << 20, "GIB": 1 << 30}
_WHOLE = re.compile(r"([0-9]{1,12})([a-z]{1,2})")
_PART = re.compile(r"(\d+(?:\.\d+)?)\s*(ns|us|ms|s|m|h|d)")


def parse_duration(text: str, units: Collection[str]) -> int | None:
    """Parse an integer with one of the units, such as 90s; return nanoseconds, or None if it is not valid."""
    match = _WHOLE.fullmatch(text)
    return None if match is None or match[2] not in units else int(match[1]) * UNITS[match[2]]


def parse_sum(text: str) -> int | None:
    """Parse a duration that may have several parts and fractions, such as 1m 30s or 1.5s; return as above."""
    parts = list(_PART.finditer(text))
    if not parts or _PART.sub("", text).strip():
        return None
    return sum(round(float(part[1]) * UNITS[part[2]]) for part in parts)


def parse_size(text: str) -> int | None:
    """Parse a size such as 256MB or 1GiB; return bytes, or None if it is not valid."""
    number = text.rstrip("KMGIBkmgib")
    unit = _SIZES.get(text[len(number) :].upper())
    if unit is None or not (number.isascii() and number.isdigit() and 0 < int(number) < 1 << 40):
        return None
    return int(number) * unit


def duration_text(nanoseconds: int, largest: str = "d") -> str:
    """Format a duration, ns, in the largest unit, up to the given one, that needs no fraction."""
    unit = next(unit for unit, size in reversed(UNITS.items()) if size <= UNITS[largest] and nanoseconds % size == 0)
    return f"{nanoseconds // UNITS[unit]}{unit}"


def seconds_text(seconds: float) -> str:
    """Format a duration for people, in whole seconds and at most two units, such as 42s or 14m 12s."""
    whole = round(seconds)
    parts: list[tuple[int, str]] = []
    for unit in ("d", "h", "m", "s"):
        number, whole = divmod(whole, UNITS[unit] // UNITS["s"])
        if number or parts:
            parts.append((number, unit))
    return " ".join(f"{number}{unit}" for number, unit in parts[:2] if number) or "0s"
