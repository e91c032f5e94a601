import pytest

from lanner.console.people.accounts import ListedToken, read_listed

TOKEN = "x" * 32


def test_each_line_is_a_token() -> None:
    """Comments and empty lines are skipped."""
    text = f"# people\n\nalice analyst {TOKEN}a\n  bob\tviewer {TOKEN}b \n"
    assert read_listed(text) == [
        ListedToken("alice", "analyst", f"{TOKEN}a"),
        ListedToken("bob", "viewer", f"{TOKEN}b"),
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("alice analyst", "line 1 must be NAME ROLE TOKEN"),
        (f"\nalice admin {TOKEN}", "line 2 must be NAME ROLE TOKEN"),
        (f"alice analyst {TOKEN} x", "line 1 must be NAME ROLE TOKEN"),
        ("alice analyst secret", "at least 32"),
        (f"alice\x1b analyst {TOKEN}", "printable"),
        (f"alice analyst {TOKEN}\nalice viewer {TOKEN}b", "line 2: there is a token for 'alice' already"),
    ],
)
def test_a_line_that_is_not_valid_is_reported(text: str, message: str) -> None:
    """With its number, and without the token."""
    with pytest.raises(ValueError, match=message) as raised:
        read_listed(text)
    assert TOKEN not in str(raised.value)
