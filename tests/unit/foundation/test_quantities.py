import pytest

from foundation.quantities import (
    UNITS,
    duration_text,
    from_rfc3339,
    iso8601_zulu,
    parse_duration,
    parse_sum,
    seconds_text,
)


@pytest.mark.parametrize("text", ["7ns", "500ms", "90s", "25h", "7d"])
def test_durations_are_read_and_written(text: str) -> None:
    """Durations survive a round trip in the usual notation."""
    nanoseconds = parse_duration(text, UNITS)
    assert nanoseconds is not None
    assert duration_text(nanoseconds) == text


def test_a_duration_is_written_in_the_largest_unit_without_a_fraction() -> None:
    """Unless a smaller one is requested."""
    assert duration_text(60 * UNITS["m"]) == "1h"
    assert duration_text(UNITS["d"]) == "1d"
    assert duration_text(UNITS["d"], "h") == "24h"


@pytest.mark.parametrize(
    ("text", "nanoseconds"), [("1m 30s", 90 * 10**9), ("1m30s", 90 * 10**9), ("1.5 ms", 1_500_000), ("0s", 0)]
)
def test_a_sum_has_parts_and_fractions(text: str, nanoseconds: int) -> None:
    """Blanks are allowed before units and between parts."""
    assert parse_sum(text) == nanoseconds


@pytest.mark.parametrize("text", ["", "1", "s", "1s and 2m", "-1s", "1w"])
def test_other_texts_are_no_durations(text: str) -> None:
    """Every part needs a number and a unit."""
    assert parse_sum(text) is None
    assert parse_duration(text, UNITS) is None


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.2, "0s"), (42.4, "42s"), (59.6, "1m"), (852, "14m 12s"), (7500, "2h 5m"), (86_400, "1d"), (90_061, "1d 1h")],
)
def test_seconds_for_people_have_two_units_at_most(seconds: float, text: str) -> None:
    """Nobody needs the seconds of a delay of hours."""
    assert seconds_text(seconds) == text


@pytest.mark.parametrize("text", ["2026-11-25T10:34:15.621094001Z", "1969-12-31T23:59:59.500000000Z"])
def test_a_time_is_read_as_it_is_written(text: str) -> None:
    """Nanoseconds are not rounded."""
    time = from_rfc3339(text)

    assert time is not None
    assert iso8601_zulu(time) == text


@pytest.mark.parametrize(
    "text", ["2026-11-25T12:34:15+02:00", "2026-11-25t10:34:15.0z", "2026-11-25T10:34:15.0000000000Z"]
)
def test_zones_and_any_number_of_digits_are_read(text: str) -> None:
    """All are valid in RFC 3339."""
    assert from_rfc3339(text) == from_rfc3339("2026-11-25T10:34:15Z")


@pytest.mark.parametrize(
    "text", ["", "noon", "2026-13-25T10:34:15Z", "2026-11-25T10:34:15", "2026-11-25 10:34:15Z", "9999-01-01T00:00:00Z"]
)
def test_what_is_no_time_has_no_value(text: str) -> None:
    """A text from outside never raises."""
    assert from_rfc3339(text) is None
