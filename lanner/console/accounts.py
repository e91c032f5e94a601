"""Tokens and sessions in a SQLite file. It contains hashes only, so a reader of it can't use them to sign in."""

import secrets
import sqlite3
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any, Literal

from foundation.sqlite import as_os_errors, open_database, opening

Role = Literal["viewer", "analyst"]
Method = Literal["local", "token", "proxy", "oidc"]
ROLES: tuple[Role, ...] = ("viewer", "analyst")


@dataclass(frozen=True, slots=True)
class Identity:
    """A person or program that is signed in."""

    name: str
    role: Role
    method: Method

    @property
    def may_change(self) -> bool:
        """True if this person may acknowledge, assign, comment and mute."""
        return self.role == "analyst"


LOCAL = Identity("local", "analyst", "local")
"""Everyone, on the loopback address of a host where no way to sign in is configured."""


def role_of(groups: Collection[str], analysts: Collection[str], viewers: Collection[str]) -> Role | None:
    """Return the role that groups of a proxy or provider give; None for no access.

    If no groups of viewers are named, everyone may look.
    """
    if not set(groups).isdisjoint(analysts):
        return "analyst"
    return "viewer" if not viewers or not set(groups).isdisjoint(viewers) else None


MIN_TOKEN = 32
"""Characters; shorter ones could be guessed."""


@dataclass(frozen=True, slots=True)
class ListedToken:
    """One line."""

    name: str
    role: Role
    token: str = field(repr=False)


def read_listed(text: str) -> Sequence[ListedToken]:
    """Return the tokens of a file; lines that are empty or begin with # are skipped. Raises ValueError."""
    found: dict[str, ListedToken] = {}
    for number, line in enumerate(text.splitlines(), 1):
        words = line.split()
        if not words or words[0].startswith("#"):
            continue
        role = next((each for each in ROLES if each == words[1]), None) if len(words) == 3 else None
        if role is None:
            raise ValueError(f"line {number} must be NAME ROLE TOKEN, with viewer or analyst as the role")
        if len(words[2]) < MIN_TOKEN or not "".join(words).isprintable():
            raise ValueError(f"line {number}: the token must have at least {MIN_TOKEN} printable characters")
        if words[0] in found:
            raise ValueError(f"line {number}: there is a token for {words[0]!r} already")
        found[words[0]] = ListedToken(words[0], role, words[2])
    return list(found.values())


PREFIX = "lanner_"
"""Begins every token, so that scanners for leaked secrets recognize one."""
MAX_SESSIONS = 10_000
_IDLE_SHARE = 4
_USED_EVERY = 60
"""Seconds; the time of the last use is written no more often."""
_TABLES = """
CREATE TABLE IF NOT EXISTS tokens (
    id INTEGER PRIMARY KEY AUTOINCREMENT, hash TEXT NOT NULL UNIQUE, name TEXT NOT NULL UNIQUE, role TEXT NOT NULL,
    created INTEGER NOT NULL, expires INTEGER NOT NULL, listed INTEGER NOT NULL DEFAULT 0
);
CREATE TABLE IF NOT EXISTS sessions (
    hash TEXT PRIMARY KEY, name TEXT NOT NULL, role TEXT NOT NULL, method TEXT NOT NULL, token INTEGER NOT NULL,
    created INTEGER NOT NULL, used INTEGER NOT NULL
);
"""


@dataclass(frozen=True, slots=True)
class AccessToken:
    """A token without its secret."""

    id: int
    name: str
    role: Role
    created: int
    """Seconds since the epoch."""
    expires: int
    """Seconds since the epoch; 0 for never."""


class Accounts:
    """The tokens and sessions of one console."""

    def __init__(self, path: Path, session_seconds: int = 12 * 3600) -> None:
        """Open the file. Raises DatabaseUnusable."""
        self._session_seconds = session_seconds
        with opening(path):
            self._base = open_database(path, _TABLES)

    def create_token(self, name: str, role: Role, now: int, expires: int = 0) -> str:
        """Create a token and return it; it can't be shown again. Raises ValueError if the name is taken.

        Times are seconds since the epoch; expires: 0 for never.
        """
        token = PREFIX + secrets.token_urlsafe(32)
        try:
            self._write(
                "INSERT INTO tokens (hash, name, role, created, expires) VALUES (?, ?, ?, ?, ?)",
                (_hash(token), name, role, now, expires),
            )
        except sqlite3.IntegrityError:
            raise ValueError(f"there is a token for {name!r} already") from None
        return token

    def set_listed(self, listed: Sequence[ListedToken], now: int) -> None:
        """Make the listed tokens valid, and no others that were listed before; their sessions end.

        now: seconds since the epoch. Raises OSError, and ValueError if a name or a token is taken.
        """
        wanted = {(each.name, each.role, _hash(each.token)) for each in listed}
        known = {tuple(row) for row in self._read("SELECT name, role, hash FROM tokens WHERE listed")}
        for name, *_ in known - wanted:
            self.revoke(name)
        for name, role, hashed in sorted(wanted - known):
            try:
                self._write(
                    "INSERT INTO tokens (hash, name, role, created, expires, listed) VALUES (?, ?, ?, ?, 0, 1)",
                    (hashed, name, role, now),
                )
            except sqlite3.IntegrityError:
                raise ValueError(f"there is a token for {name!r} already, or another name has the same token") from None

    def tokens(self) -> Sequence[AccessToken]:
        """Return all tokens, oldest first. Raises OSError."""
        return [
            AccessToken(*row) for row in self._read("SELECT id, name, role, created, expires FROM tokens ORDER BY id")
        ]

    def revoke(self, name: str) -> bool:
        """Delete a token and end its sessions; return whether there was one. Raises OSError."""
        self._write("DELETE FROM sessions WHERE token IN (SELECT id FROM tokens WHERE name = ?)", (name,))
        return self._write("DELETE FROM tokens WHERE name = ?", (name,)) > 0

    def by_token(self, token: str, now: int) -> tuple[Identity, int] | None:
        """Return who has a token, and the token's id; None if there is no such token. Raises OSError."""
        rows = self._read(
            "SELECT name, role, id FROM tokens WHERE hash = ? AND (expires = 0 OR expires > ?)", (_hash(token), now)
        )
        return (Identity(rows[0][0], rows[0][1], "token"), rows[0][2]) if rows else None

    def begin_session(self, identity: Identity, now: int, token: int = 0) -> str:
        """Begin a session and return its secret, for a cookie. Raises OSError.

        It ends when the token that was used is revoked, whose id is passed. now: seconds since the epoch.
        """
        secret = secrets.token_urlsafe(32)
        self._write(
            "DELETE FROM sessions WHERE created <= ? OR used <= ? OR hash NOT IN "
            "(SELECT hash FROM sessions ORDER BY used DESC LIMIT ?)",
            (now - self._session_seconds, now - self._session_seconds // _IDLE_SHARE, MAX_SESSIONS - 1),
        )
        self._write(
            "INSERT INTO sessions VALUES (?, ?, ?, ?, ?, ?, ?)",
            (_hash(secret), identity.name, identity.role, identity.method, token, now, now),
        )
        return secret

    def by_session(self, secret: str, now: int) -> Identity | None:
        """Return who has a session; None if it has ended. Raises OSError."""
        rows = self._read(
            "SELECT s.name, s.role, s.method, s.used FROM sessions s LEFT JOIN tokens t ON t.id = s.token "
            "WHERE s.hash = ? AND s.created > ? AND s.used > ? "
            "AND (s.token = 0 OR t.id IS NOT NULL AND (t.expires = 0 OR t.expires > ?))",
            (_hash(secret), now - self._session_seconds, now - self._session_seconds // _IDLE_SHARE, now),
        )
        if not rows:
            return None
        name, role, method, used = rows[0]
        if now - used >= _USED_EVERY:
            self._write("UPDATE sessions SET used = ? WHERE hash = ?", (now, _hash(secret)))
        return Identity(name, role, method)

    def end_session(self, secret: str) -> None:
        """End a session. Raises OSError."""
        self._write("DELETE FROM sessions WHERE hash = ?", (_hash(secret),))

    def sessions(self, now: int) -> int:
        """Return how many sessions there are. now: seconds since the epoch. Raises OSError."""
        values = (now - self._session_seconds, now - self._session_seconds // _IDLE_SHARE)
        count: int = self._read("SELECT count(*) FROM sessions WHERE created > ? AND used > ?", values)[0][0]
        return count

    def close(self) -> None:
        """Close the file."""
        self._base.close()

    def _read(self, query: str, values: tuple[Any, ...] = ()) -> list[Any]:
        with as_os_errors():
            return self._base.execute(query, values).fetchall()

    def _write(self, query: str, values: tuple[Any, ...]) -> int:
        try:
            return self._base.execute(query, values).rowcount
        except sqlite3.IntegrityError:
            raise
        except sqlite3.Error as error:
            raise OSError(str(error)) from None


def _hash(secret: str) -> str:
    # The secrets are random, so a fast hash is enough.
    return sha256(secret.encode("utf-8", "replace")).hexdigest()
