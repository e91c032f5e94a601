import pytest

from foundation.times import from_rfc3339, iso8601_zulu


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
