"""Who makes a request, and what that person may do."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Literal

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
        """Whether this person may acknowledge, assign, comment and mute."""
        return self.role == "analyst"


LOCAL = Identity("local", "analyst", "local")
"""Everyone, on the loopback address of a host where no way to sign in is configured."""


def role_of(groups: Collection[str], analysts: Collection[str], viewers: Collection[str]) -> Role | None:
    """Return the role that the groups of a proxy or provider give; None for no access.

    Args:
        groups: the person's groups.
        analysts: groups of analysts.
        viewers: groups of viewers; if empty, everyone may look.
    """
    if not set(groups).isdisjoint(analysts):
        return "analyst"
    return "viewer" if not viewers or not set(groups).isdisjoint(viewers) else None
