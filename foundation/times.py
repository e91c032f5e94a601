"""Format event times for alert lines and the evt.time fields, and read times of RFC 3339.

The part down to the second is cached, because the alerts of a busy second share it.
"""

import re
import time
from datetime import datetime
from functools import lru_cache

NANOSECONDS = 1_000_000_000
_LONG = range(-(2**63), 2**63)
_RFC3339 = re.compile(r"(\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d)(?:\.(\d{1,9})\d*)?([Zz]|[+-]\d\d:\d\d)", re.ASCII)


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
