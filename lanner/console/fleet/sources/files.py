"""A recording states nothing about the hosts of now."""

from collections.abc import Callable
from dataclasses import replace

from lanner.console.fleet.ports import HostsReading, KnownRules
from lanner.console.fleet.sources.facts import RuleFiles
from lanner.ruleset.load import ActiveRules
from lanner.settings import Settings


class FilesOnly:
    """Knows what is in files: no states of hosts."""

    def __init__(self, settings: Settings, rules: Callable[[], ActiveRules]) -> None:
        """Take what returns the rules of files; it raises BadInput."""
        origin = "The rule files of this host. The alerts of a recording may be of others."
        self._files = RuleFiles(settings, rules, origin)

    def start(self, on_change: Callable[[], None]) -> None:
        """Do nothing: files don't change what is known."""

    def hosts(self) -> HostsReading:
        """Return why hosts are not known."""
        return HostsReading(
            unknown="A recording holds alerts and events. Whether its hosts are silent, lose events or have a wrong "
            "clock is not in it; the hosts named in its alerts are filters of the alerts."
        )

    def rules(self) -> KnownRules:
        """Return the rules of this host's files."""
        return replace(self._files.known(), costs="It is measured while rules run; a recording doesn't contain it.")

    def stop(self) -> None:
        """Do nothing."""
