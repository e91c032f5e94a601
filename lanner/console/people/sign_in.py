"""The ways to sign in that the settings allow, and who a request is from."""

import ipaddress
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from lanner.console.people.accounts import LOCAL, Accounts, Identity, Method, role_of
from lanner.console.people.oidc import OpenIdProvider

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
_MAX_NAME = 200


@dataclass(frozen=True, slots=True)
class Proxy:
    """Reverse proxies that authenticate people."""

    networks: Sequence[Network]
    user_header: str
    groups_header: str


@dataclass(frozen=True, slots=True)
class SignIn:
    """The configured ways to sign in."""

    accounts: Accounts
    is_open: bool = False
    """True if everyone who can connect is `local`; only on the loopback address."""
    tokens: bool = True
    proxy: Proxy | None = None
    provider: OpenIdProvider | None = None
    analysts: frozenset[str] = field(default_factory=frozenset)
    viewers: frozenset[str] = field(default_factory=frozenset)

    def by_request(self, address: str, headers: Mapping[str, str], session: str, now: int) -> Identity | None:
        """Return who a request is from, by address, headers and session cookie; None if nobody is signed in.

        now: seconds since the epoch. Raises OSError.
        """
        if self.proxy is not None and (found := self._by_proxy(address, headers)) is not None:
            return found
        kind, _, bearer = headers.get("Authorization", "").partition(" ")
        if self.tokens and kind.lower() == "bearer" and bearer.strip():
            found_token = self.accounts.by_token(bearer.strip(), now)
            return found_token[0] if found_token else None
        if session and (found := self.accounts.by_session(session, now)) is not None:
            return found
        return LOCAL if self.is_open else None

    def with_groups(self, name: str, groups: Sequence[str], method: Method) -> Identity | None:
        """Return a person with the role that its groups give; None for no access."""
        role = role_of(groups, self.analysts, self.viewers)
        return None if role is None else Identity(name[:_MAX_NAME], role, method)

    def is_proxy(self, address: str) -> bool:
        """Return whether an address is that of a proxy that is trusted."""
        if self.proxy is None:
            return False
        try:
            found = ipaddress.ip_address(address.partition("%")[0])
        except ValueError:
            return False
        mapped = getattr(found, "ipv4_mapped", None)
        return any((mapped or found) in network for network in self.proxy.networks)

    def _by_proxy(self, address: str, headers: Mapping[str, str]) -> Identity | None:
        if self.proxy is None or not self.is_proxy(address):
            return None
        name = headers.get(self.proxy.user_header, "").strip()
        groups = [group.strip() for group in headers.get(self.proxy.groups_header, "").split(",")]
        return self.with_groups(name, [group for group in groups if group], "proxy") if name else None
