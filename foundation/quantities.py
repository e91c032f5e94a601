"""Times, durations and sizes: formatted for alert lines, the evt.time fields and people, and read from texts.

The part of a time down to the second is cached, because the alerts of a busy second share it.
"""

import re
import time
from collections.abc import Collection
from datetime import datetime
from functools import lru_cache

NANOSECONDS = 1_000_000_000
_LONG = range(-(2**63), 2**63)
_RFC3339 = re.compile(r"(\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d)(?:\.(\d{1,9})\d*)?([Zz]|[+-]\d\d:\d\d)", re.ASCII)

UNITS = {"ns": 1, "us": 10**3, "ms": 10**6, "s": 10**9, "m": 60 * 10**9, "h": 3600 * 10**9, "d": 86400 * 10**9}
"""Nanoseconds."""
_SIZES = {"KB": 10**3, "MB": 10**6, "GB": 10**9, "KIB": 1 << 10, "MIB": 1 << 20, "GIB": 1 << 30}
_WHOLE = re.compile(r"([0-9]{1,12})([a-z]{1,2})")
_PART = re.compile(r"(\d+(?:\.\d+)?)\s*(ns|us|ms|s|m|h|d)")


@lru_cache(maxsize=4096)
def _second(second: int, form: str, *, utc: bool) -> str:
    return time.strftime(form, time.gmtime(second) if utc else time.localtime(second))


def clock(nanoseconds: int, *, utc: bool = False) -> str:
    """Return ``HH:MM:SS.nnnnnnnnn``, the time at the start of an alert line; by default local time, as Falco does."""
    second, rest = divmod(nanoseconds, NANOSECONDS)
    return f"{_second(second, '%H:%M:%S', utc=utc)}.{rest:09d}"


def clock_seconds(nanoseconds: int, *, utc: bool = False) -> str:
    """Return ``HH:MM:SS``."""
    return _second(nanoseconds // NANOSECONDS, "%H:%M:%S", utc=utc)


def iso8601(nanoseconds: int, *, utc: bool = False) -> str:
    """Return ``2026-11-24T14:31:30.479359480+0000``: date and time with the offset of the zone."""
    second, rest = divmod(nanoseconds, NANOSECONDS)
    zone = "+0000" if utc else _second(second, "%z", utc=utc)
    return f"{_second(second, '%Y-%m-%dT%H:%M:%S', utc=utc)}.{rest:09d}{zone}"


def iso8601_zulu(nanoseconds: int) -> str:
    """Return ``2026-11-24T14:31:30.479359480Z``, the time of a JSON alert; always UTC."""
    second, rest = divmod(nanoseconds, NANOSECONDS)
    return f"{_second(second, '%Y-%m-%dT%H:%M:%S', utc=True)}.{rest:09d}Z"


def date_and_time(nanoseconds: int, *, utc: bool = False) -> str:
    """Return ``2026-11-24 14:31:30.479359480``."""
    second, rest = divmod(nanoseconds, NANOSECONDS)
    return f"{_second(second, '%Y-%m-%d %H:%M:%S', utc=utc)}.{rest:09d}"


def date_and_time_seconds(nanoseconds: int, *, utc: bool = False) -> str:
    """Return ``2026-11-24 14:31:30``."""
    return _second(nanoseconds // NANOSECONDS, "%Y-%m-%d %H:%M:%S", utc=utc)


def from_rfc3339(text: str) -> int | None:
    """Return the time of ``2026-11-24T14:31:30.479359Z`` in ns since the epoch; None if it is not valid.

    Messages contain times in 64 bits, so the years from 1678 to 2261 are valid.
    """
    match = _RFC3339.fullmatch(text)
    if match is None:
        return None
    second, rest, zone = match.groups()
    try:
        whole = _epoch_second(f"{second.upper()}{zone.upper()}")
    except ValueError:
        return None
    found = whole * NANOSECONDS + int((rest or "").ljust(9, "0"))
    return found if found in _LONG else None


@lru_cache(maxsize=4096)
def _epoch_second(text: str) -> int:
    return int(datetime.fromisoformat(text).timestamp())


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
