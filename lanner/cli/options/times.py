"""Times as people give them to a command: so long ago, or a date and time."""

from datetime import datetime

from bus.topics import duration_ms
from lanner.errors import BadInput


def moment_ms(text: str | None, option: str, now: int) -> int | None:
    """Read a time.

    Args:
        text: such as 30m, 24h or 7d (ago), or 2026-11-24T14:31:30 (local time, if no zone is given); None for none.
        option: what it was given as.
        now: ms since the epoch.

    Returns:
        Milliseconds since the epoch.

    Raises:
        BadInput: it is no time.
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
            f"{option}: {text!r} is no time: write how long ago (30m, 24h, 7d), or 2026-11-24T14:31:30."
        ) from None


def span_ms(text: str, option: str) -> int:
    """Read how long something takes, ms. Raises BadInput."""
    try:
        return duration_ms(text)
    except ValueError as error:
        raise BadInput(f"{option}: {error}.") from None
