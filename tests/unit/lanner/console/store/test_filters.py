import pytest

from lanner.console.store.filters import Filters, TimeRange, match_text
from lanner.errors import BadRequest
from tests.unit.lanner.console.alerts import HOUR, NOW


def test_an_address_holds_the_filters() -> None:
    """What is read from a query gives the same query; unknown names are ignored."""
    query = {"priority": "error", "host": "web-*", "q": "shadow", "since": "7d", "color": "red"}
    filters = Filters.read(query)
    assert filters.query() == {name: value for name, value in query.items() if name != "color"}
    assert filters.query(host="", sort="count") == {"priority": "error", "q": "shadow", "since": "7d", "sort": "count"}
    assert Filters().query() == {}


@pytest.mark.parametrize(
    "query", [{"priority": "high"}, {"state": "gone"}, {"sort": "rule; DROP"}, {"since": "yesterday"}, {"until": "-1"}]
)
def test_a_wrong_value_is_refused(query: dict[str, str]) -> None:
    """The message names the filter."""
    with pytest.raises(BadRequest, match=next(iter(query))):
        Filters.read(query)


@pytest.mark.parametrize(
    ("since", "until", "expected"),
    [
        ("24h", "", TimeRange((NOW - 24 * HOUR) // 1000, None)),
        ("all", "now", TimeRange(0, NOW // 1000)),
        ("2026-11-25T00:00:00Z", "2026-11-25T01:00:00+01:00", TimeRange(1795564800000000, 1795564800000000)),
        ("2026-11-25", "1h", TimeRange(1795564800000000, (NOW - HOUR) // 1000)),
    ],
)
def test_times_are_durations_before_now_or_times(since: str, until: str, expected: TimeRange) -> None:
    """A time without a zone is in UTC."""
    assert Filters(since=since, until=until).span(NOW) == expected


@pytest.mark.parametrize(
    ("text", "query"),
    [
        ("cat shadow", '"cat" "shadow"'),
        ("/etc/shadow", '"/etc/shadow"'),
        ("shad*", '"shad"*'),
        ('"two words"', '"two words"'),
        ('a"b OR NEAR(', '"a""b" "OR" "NEAR("'),
        ("- *", ""),
        ("", ""),
    ],
)
def test_words_are_never_operators_of_the_search(text: str, query: str) -> None:
    """A text of an attacker or a person can't be a syntax error."""
    assert match_text(text) == query
