"""Hosts for the tests."""

from collections.abc import Callable
from typing import Any

from lanner.console.fleet.ports import HostsReading, KnownRules
from lanner.recorder.host_tally import FleetHost

READ_AT = 1_795_600_000_000
"""ms since the epoch."""


def host(number: int = 1, **facts: Any) -> FleetHost:
    """Make a host without problems."""
    plain: dict[str, Any] = {
        "id": f"id-{number}",
        "name": f"web-{number}",
        "seen": READ_AT - 1000,
        "version": "99.0.0",
        "kernel": "6.12.0",
        "rules": "",
        "lag": 10,
        "losses": {},
        "is_stopped": False,
        "watched": ("execve", "openat"),
    }
    return FleetHost(**(plain | facts))


class GivenHosts:
    """Knows given hosts and rules."""

    def __init__(self, *hosts: FleetHost) -> None:
        self.known = HostsReading(hosts, READ_AT)
        self.known_rules = KnownRules()

    def start(self, on_change: Callable[[], None]) -> None:
        """Report them once."""
        on_change()

    def hosts(self) -> HostsReading:
        """Return them."""
        return self.known

    def rules(self) -> KnownRules:
        """Return given rules."""
        return self.known_rules

    def stop(self) -> None:
        """Do nothing."""
