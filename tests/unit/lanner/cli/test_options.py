import time

import pytest

from lanner.cli.options import duration_ms, parse_duration_ms, time_ms
from lanner.errors import BadInput

NOW = 1_795_530_690_000


def test_times_are_so_long_ago_or_dates() -> None:
    """Times may have a zone; otherwise they are local."""
    assert time_ms("30m", "--since", NOW) == NOW - 1_800_000
    assert time_ms("2026-11-24T12:00:00+00:00", "--since", NOW) == 1_795_521_600_000
    local = time.mktime(time.strptime("2026-11-24 12:00", "%Y-%m-%d %H:%M"))
    assert time_ms("2026-11-24 12:00", "--since", NOW) == int(local * 1000)
    assert time_ms(None, "--since", NOW) is None
    assert parse_duration_ms("2m", "--before") == 120_000


def test_what_is_no_time_is_named() -> None:
    """The error lists valid formats."""
    for text in ("yesterday", "", "24", "-3h", "2026-13-01"):
        with pytest.raises(BadInput, match=r"--until: .* is not a valid time"):
            time_ms(text, "--until", NOW)
    with pytest.raises(BadInput, match="--before"):
        parse_duration_ms("soon", "--before")


@pytest.mark.parametrize(("text", "number"), [("500ms", 500), ("90s", 90_000), ("24h", 86_400_000)])
def test_a_duration_is_milliseconds(text: str, number: int) -> None:
    """Kafka counts in milliseconds."""
    assert duration_ms(text) == number


@pytest.mark.parametrize("text", ["", "24", "h", "-1h", "0h", "1w", "1.5h", "\u0661h", "1us", "9" * 5000 + "s"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    """The error shows valid examples."""
    with pytest.raises(ValueError, match="write it as"):
        duration_ms(text)
