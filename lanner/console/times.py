"""Times of the view as text."""

from datetime import UTC, datetime

_MICROSECONDS = 1_000_000


def time_text(microseconds: int) -> str:
    """Return a time as RFC 3339 in UTC."""
    second, rest = divmod(microseconds, _MICROSECONDS)
    return f"{datetime.fromtimestamp(second, UTC):%Y-%m-%dT%H:%M:%S}.{rest:06d}Z"
