"""A fleet's hosts and rules."""

from collections.abc import Callable

from bus.connection import Connection
from lanner.console.fleet.ports import HostsReading, KnownRules
from lanner.console.fleet.sources.hosts_topic import HostsOfTopic
from lanner.console.fleet.sources.published import PublishedRulesFollower
from lanner.ruleset.load import ActiveRules
from lanner.settings import Settings


class FleetTopics:
    """Reads them from topics."""

    def __init__(self, settings: Settings, connection: Connection, own: Callable[[], ActiveRules]) -> None:
        """Create one that is not started; arguments and errors as PublishedRulesFollower."""
        self._hosts = HostsOfTopic(connection)
        self._rules = PublishedRulesFollower(settings, connection, own)

    def start(self, on_change: Callable[[], None]) -> None:
        """Begin to read."""
        self._hosts.start(on_change)
        self._rules.start(on_change)

    def hosts(self) -> HostsReading:
        """Return the hosts, and see to it that they are read again."""
        return self._hosts.hosts()

    def rules(self) -> KnownRules:
        """Return the rules."""
        return self._rules.rules()

    def stop(self) -> None:
        """Stop reading."""
        self._hosts.stop()
        self._rules.stop()
