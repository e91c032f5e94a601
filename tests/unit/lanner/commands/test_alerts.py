from lanner.commands.alerts import AlertFilter
from tests.unit.alerts import alert


def test_all_that_is_given_must_hold() -> None:
    """Priority is a minimum, names are patterns, and all tags must be present."""
    given = alert(rule="Read sensitive file", priority="Warning", hostname="web-3", host_id="id-3", tags=("a", "b"))
    for expected in (
        AlertFilter(),
        AlertFilter(priority="warning", rule="Read*", host="web-*", tags=("a",)),
        AlertFilter(host="id-3", tags=("a", "b")),
        AlertFilter(priority="info"),
    ):
        assert expected.matches(given)
    for expected in (
        AlertFilter(priority="error"),
        AlertFilter(rule="read*"),
        AlertFilter(host="db-*"),
        AlertFilter(tags=("a", "c")),
    ):
        assert not expected.matches(given)
