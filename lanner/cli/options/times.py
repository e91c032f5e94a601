"""Times and durations as options: a duration before now, or a date and time."""

from datetime import datetime

from lanner.errors import BadInput
from schemas.text.durations import UNITS, parse_duration

_UNITS = ("ms", "s", "m", "h", "d")


def time_ms(text: str | None, option: str, now: int) -> int | None:
    """Parse a time.

    Args:
        text: such as 30m, 24h or 7d (before now), or 2026-11-24T14:31:30 (local time unless it names a zone); or None.
        option: name of the option, for the error.
        now: milliseconds since the epoch.

    Returns:
        Milliseconds since the epoch; None for None.

    Raises:
        BadInput: The text is not a valid time.
    """
    if text is None:
        return None
    try:
        return now - duration_ms(text)
    except ValueError:
        pass
    try:
        return int(datetime.fromisoformat(text).timestamp() * 1000)
    except (ValueError, OverflowError, OSError):
        raise BadInput(
            f"{option}: {text!r} is not a valid time. Use a duration before now (30m, 24h, 7d), or 2026-11-24T14:31:30."
        ) from None


def duration_ms(text: str) -> int:
    """Parse a duration such as 90s, 30m, 24h or 7d; return milliseconds. Raises ValueError."""
    nanoseconds = parse_duration(text, _UNITS)
    if not nanoseconds:
        raise ValueError(f"{text!r} is not a valid duration: write it as 90s, 30m, 24h or 7d")
    return nanoseconds // UNITS["ms"]


def parse_duration_ms(text: str, option: str) -> int:
    """Parse a duration, ms. Raises BadInput."""
    try:
        return duration_ms(text)
    except ValueError as error:
        raise BadInput(f"{option}: {error}.") from None
