"""A recording states nothing about the hosts of now."""

from collections.abc import Callable

from lanner.console.fleet.ports import KnownHosts


class FilesOnly:
    """Knows what is in files: no states of hosts."""

    def start(self, on_change: Callable[[], None]) -> None:
        """Do nothing: files don't change what is known."""

    def hosts(self) -> KnownHosts:
        """Return why hosts are not known."""
        return KnownHosts(
            unknown="A recording holds alerts and events. Whether its hosts are silent, lose events or have a wrong "
            "clock is not in it; the hosts named in its alerts are filters of the alerts."
        )

    def stop(self) -> None:
        """Do nothing."""
