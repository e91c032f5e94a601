"""What this host's collector sends in a fleet: what published rules ask for, else what its own rule files do."""

from pathlib import Path

from bus.connection import Connection
from collector.agent import Collector
from collector.events.system_calls import EVERYTHING
from collector.pushdown.follower import FilterFollower
from collector.pushdown.plan import CollectionPlan
from lanner.cli.terminal.output import note
from lanner.errors import BadInput
from lanner.settings import Settings
from schemas.filter import PushdownFilter, always


class FleetFilter:
    """Follows the topic of interest, where the settings say so."""

    def __init__(self, settings: Settings, connection: Connection, own: PushdownFilter, folder: Path) -> None:
        """Begin with what was read last; the broker need not be there.

        own: of this host's rule files; folder: keeps what is read. Raises BadInput, and BusUnavailable where the
        settings of the broker can't be used.
        """
        always_sent = frozenset(settings.collector.always_sent)
        if unknown := sorted(always_sent - EVERYTHING):
            raise BadInput(
                *(f"collector.always_sent: {name!r} is no event type that is collected." for name in unknown)
            )
        self._settings = settings
        self._followed: FilterFollower | None = None
        self.wanted = CollectionPlan(always(own, always_sent))
        """What is sent now."""
        if settings.published_rules.enabled:
            kept = folder / "interest.json"
            self._followed = FilterFollower(connection, own, always_sent, kept=kept, on_note=note)
            self.wanted = self._followed.wanted

    @property
    def event_types(self) -> frozenset[str]:
        """What to watch."""
        return EVERYTHING if self.wanted.interest is None else self.wanted.interest.events

    @property
    def variables(self) -> frozenset[str]:
        """Names of the environment variables that are asked for."""
        return frozenset() if self.wanted.interest is None else self.wanted.interest.variables

    @property
    def asker(self) -> str:
        """In a few words, who asks for it."""
        return ", ".join(sorted(self.wanted.versions)).replace("*", "anybody") or "this host's rule files"

    def follow(self, collector: Collector) -> None:
        """Have a collector that runs send what is asked for now, where that has changed."""
        changed = None if self._followed is None else self._followed.poll()
        if changed is None:
            return
        self.wanted = changed
        collector.change_interest(
            self.event_types,
            changed.interest if self._settings.collector.pushdown else None,
            changed.versions,
            # What can't be understood must not make secrets leave the host.
            variables=None if changed.interest is None else self.variables,
        )
        note(f"sending what is of interest to {self.asker}.")
