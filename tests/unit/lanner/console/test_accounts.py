from dataclasses import replace
from pathlib import Path

import pytest

from lanner.console.accounts import Accounts, Identity, ListedToken, read_listed, role_of

NOW = 1_800_000_000
ALICE = Identity("alice", "analyst", "token")


@pytest.fixture
def accounts(tmp_path: Path) -> Accounts:
    """Return the accounts of an empty file."""
    return Accounts(tmp_path / "people.db", session_seconds=4000)


def test_a_token_signs_in_until_it_expires_or_is_revoked(accounts: Accounts, tmp_path: Path) -> None:
    """The file holds only its hash, and is private."""
    token = accounts.create_token("alice", "analyst", NOW, NOW + 100)
    found = accounts.by_token(token, NOW)
    assert found is not None
    assert found[0] == ALICE
    assert accounts.by_token(token, NOW + 100) is None
    assert accounts.by_token(token + "x", NOW) is accounts.by_token("", NOW) is None
    with pytest.raises(ValueError, match="'alice' already"):
        accounts.create_token("alice", "viewer", NOW)
    assert [(each.name, each.role, each.expires) for each in accounts.tokens()] == [("alice", "analyst", NOW + 100)]
    stored = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    assert token.encode() not in stored
    assert b"alice" in stored
    assert all(path.stat().st_mode & 0o777 == 0o600 for path in tmp_path.iterdir())
    assert accounts.revoke("alice")
    assert not accounts.revoke("alice")
    assert accounts.by_token(token, NOW) is None


def test_a_session_ends_after_its_time_and_when_it_is_not_used(accounts: Accounts) -> None:
    """A quarter of its time without use is enough."""
    used, unused = accounts.begin_session(ALICE, NOW), accounts.begin_session(ALICE, NOW)
    for later in range(0, 4000, 500):
        assert accounts.by_session(used, NOW + later) == ALICE
    assert accounts.by_session(unused, NOW + 1000) is None
    assert accounts.by_session(used, NOW + 4000) is None
    accounts.begin_session(ALICE, NOW + 4000)
    ended = accounts.begin_session(ALICE, NOW + 4000)
    accounts.end_session(ended)
    assert accounts.by_session(ended, NOW + 4000) is None


def test_a_session_ends_with_its_token(accounts: Accounts) -> None:
    """Revoking a token signs its holder out everywhere; expiry does too."""
    found = accounts.by_token(accounts.create_token("alice", "analyst", NOW, NOW + 50), NOW)
    assert found is not None
    session = accounts.begin_session(found[0], NOW, found[1])
    assert accounts.by_session(session, NOW + 49) == ALICE
    assert accounts.by_session(session, NOW + 50) is None
    accounts.revoke("alice")
    assert accounts.by_session(session, NOW) is None


@pytest.mark.parametrize(
    ("groups", "viewers", "role"),
    [
        (["soc"], [], "analyst"),
        (["soc", "dev"], ["dev"], "analyst"),
        (["dev"], ["dev"], "viewer"),
        (["dev"], [], "viewer"),
        (["sales"], ["dev"], None),
        ([], [], "viewer"),
        ([], ["dev"], None),
    ],
)
def test_groups_give_roles(groups: list[str], viewers: list[str], role: str | None) -> None:
    """Analysts are named; viewers may be."""
    assert role_of(groups, ["soc"], viewers) == role


def test_listed_tokens_are_valid_as_long_as_they_are_listed(accounts: Accounts) -> None:
    """A changed token, a changed role and a removed line end sessions; tokens that were made stay."""
    made = accounts.create_token("carol", "viewer", NOW)
    alice, bob = (ListedToken(name, "analyst", name * 10) for name in ("alice", "bob"))
    accounts.set_listed([alice, bob], NOW)
    identity, number = accounts.by_token(alice.token, NOW) or (None, 0)
    assert identity == ALICE
    session = accounts.begin_session(ALICE, NOW, number)
    accounts.set_listed([alice, bob], NOW)
    assert accounts.by_session(session, NOW) == ALICE
    accounts.set_listed([replace(alice, role="viewer")], NOW)
    assert accounts.by_session(session, NOW) is None
    assert accounts.by_token(alice.token, NOW) is not None
    assert accounts.by_token(bob.token, NOW) is None
    with pytest.raises(ValueError, match="'carol' already"):
        accounts.set_listed([ListedToken("carol", "analyst", "c" * 40)], NOW)
    accounts.set_listed([], NOW)
    assert [each.name for each in accounts.tokens()] == ["carol"]
    assert accounts.by_token(made, NOW) is not None


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
