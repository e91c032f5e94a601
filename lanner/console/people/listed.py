"""Tokens of a file, such as a Secret of Kubernetes: a line for each, NAME ROLE TOKEN."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from lanner.console.people.identity import ROLES, Role

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
