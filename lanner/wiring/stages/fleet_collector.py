"""Builds the collector of a host of a fleet: what it watches, and how batches reach the broker."""

import os
import pickle
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from bus.connection import Connection
from collector.agent import Collector
from collector.events.system_calls import EVERYTHING
from collector.filter_follower import FilterFollower
from collector.kernel_feed import ProgramLoading
from collector.publishing.publisher import Publisher
from collector.publishing.spool import SequenceCheckpoint, Spool
from collector.pushdown import CollectionPlan
from lanner.errors import BadInput, or_bad_input
from lanner.settings import Settings
from lanner.terminal.output import note
from lanner.wiring.stages.collector import identity_of, make_collector
from lanner.wiring.stores import always_sent
from schemas.batch import EventBatch
from schemas.filter import PushdownFilter, always

if TYPE_CHECKING:
    from collector.actions.courier import ActionCourier
    from collector.host import HostFacts
    from collector.publishing.identity import HostIdentity


class FleetCollector:
    """A collector that publishes its batches; while the broker is away, they wait on disk."""

    def __init__(
        self, settings: Settings, connection: Connection, own: PushdownFilter, loading: ProgramLoading | None = None
    ) -> None:
        """Build it, with the filter of own rule files; nothing is started, and the broker need not be available.

        loading: the eBPF program, if its loading has begun.

        Raises:
            BadInput: The spool or the key of this host can't be used.
            BusUnavailable: The broker's settings can't be used.
        """
        folder = Path(settings.kafka.spool_dir)
        with or_bad_input(f"kafka.spool_dir: {folder}"):
            self.spool = Spool(folder, settings.kafka.spool_mib << 20, on_error=note)
        self.filter = FleetFilter(settings, connection, own, folder)
        self._checkpoint = SequenceCheckpoint(folder / "last.json")
        self._newest = 0
        """Sequence number of the newest batch."""
        last = self._checkpoint.read()
        self.collector = make_collector(
            settings,
            self.filter.event_types,
            self._take,
            pushdown_filter=self.filter.plan.pushdown_filter,
            versions=self.filter.plan.versions,
            variables=self.filter.variables,
            flush_ms=settings.kafka.batch_ms,
            previous_start=0 if last is None else last.start,
            previous_sequence=-1 if last is None else last.sequence,
            further_losses=lambda: self.publisher.losses,
            loading=loading,
            on_note=note,
        )
        host = self.collector.host
        identity = identity_of(settings, host)
        self.publisher = Publisher(connection, host.id, self.spool, identity=identity, on_note=note)
        self.actions = action_courier(settings, connection, host, identity, lambda: self.filter.plan.versions)
        """Passes intents to the executor; None unless some are enabled."""

    def _take(self, batch: EventBatch) -> None:
        """Publish a batch of the collector, and record that it was made."""
        self.publisher.publish(batch)
        self._newest = batch.sequence
        self._checkpoint.note(batch.collector_start, batch.sequence)

    def stop(self, seconds: float) -> int:
        """Detach, send what is left for so many seconds, and return the number of batches that remain on disk."""
        if self.actions is not None:
            self.actions.stop()
        self.collector.stop()
        left = self.publisher.close(seconds)
        if self._newest:
            self._checkpoint.note(self.collector.batch.started, self._newest, final=True)
        return left


def action_courier(
    settings: Settings,
    connection: Connection,
    host: "HostFacts",
    identity: "HostIdentity | None",
    versions: Callable[[], frozenset[str]],
) -> "ActionCourier | None":
    """Return what passes intents to the executor; None if no type of action is enabled here, or no key accepted."""
    section = settings.collector.actions
    if not section.enabled:
        return None
    if not (section.processor_key_files or section.people_key_files or section.console_key_files):
        # The executor would take what anybody wrote to the topics for requests of its own host's root.
        note(
            "collector.actions.enabled: nothing is done, because no keys are accepted. Set "
            "collector.actions.processor_key_files, and people_key_files.",
            "warning",
        )
        return None
    # Imported here, because few hosts need it.
    from collector.actions.courier import ActionCourier
    from collector.actions.socket import ActionsClient

    client = ActionsClient(Path(section.socket), note=note)
    names = (host.id, host.name)
    return ActionCourier(connection, client, host=names, identity=identity, versions=versions, on_note=note)


class FleetFilter:
    """What published rules need, by the topic of pushdown filters, if enabled; else what own rule files need."""

    def __init__(self, settings: Settings, connection: Connection, own: PushdownFilter, folder: Path) -> None:
        """Start with the filter read last; the broker need not be available.

        own: filter of this host's rule files; folder: where the filter is stored. Raises BadInput, and BusUnavailable
        if the broker's settings can't be used.
        """
        names = always_sent(settings)
        self._settings = settings
        self._followed: FilterFollower | None = None
        self.plan = CollectionPlan(always(own, names))
        """The active plan."""
        if settings.published_rules.enabled:
            state_file = folder / "interest.json"
            self._followed = FilterFollower(connection, own, names, state_file=state_file, on_note=note)
            self.plan = self._followed.plan

    @property
    def event_types(self) -> frozenset[str]:
        """The event types to watch."""
        return EVERYTHING if self.plan.pushdown_filter is None else self.plan.pushdown_filter.events

    @property
    def variables(self) -> frozenset[str]:
        """Names of the environment variables to send."""
        return frozenset() if self.plan.pushdown_filter is None else self.plan.pushdown_filter.variables

    @property
    def asker(self) -> str:
        """Short description of the rules that need these events."""
        return ", ".join(sorted(self.plan.versions)).replace("*", "any version") or "this host's rule files"

    def follow(self, collector: Collector) -> None:
        """Change the filter of a running collector if the topic changed."""
        changed = None if self._followed is None else self._followed.poll()
        if changed is None:
            return
        self.plan = changed
        collector.change_pushdown_filter(
            self.event_types,
            changed.pushdown_filter if self._settings.collector.pushdown else None,
            changed.versions,
            # A filter that can't be decoded must not make secrets leave the host.
            variables=None if changed.pushdown_filter is None else self.variables,
        )
        note(f"sending the events that these need: {self.asker}.")


def own_filter(check: Callable[[], PushdownFilter], meanwhile: Callable[[], None] = lambda: None) -> PushdownFilter:
    """Return the filter of this host's rule files, made by a child process; call it before threads are started.

    What check imports leaves with the process. meanwhile is called while it works. Raises BadInput with all errors in
    settings and rules.
    """
    reading, writing = os.pipe()
    sys.stdout.flush()
    sys.stderr.flush()
    child = os.fork()
    if child == 0:
        os.close(reading)
        _answer(writing, check)
    os.close(writing)
    meanwhile()
    with os.fdopen(reading, "rb") as pipe:
        data = pipe.read()
    _, status = os.waitpid(child, 0)
    if not data:
        end = os.waitstatus_to_exitcode(status)
        what = f"was killed by signal {signal.Signals(-end).name}" if end < 0 else f"exited with code {end}"
        raise BadInput(f"the rules could not be read: the process that reads them {what}.")
    answer = pickle.loads(data)  # noqa: S301  our own child wrote it
    if isinstance(answer, PushdownFilter):
        return answer
    raise BadInput(*answer)


def _answer(writing: int, check: Callable[[], PushdownFilter]) -> None:
    """Write the filter, or the error messages, and exit."""
    status = 1
    try:
        answer: PushdownFilter | tuple[str, ...]
        try:
            answer = check()
        except BadInput as error:
            answer = error.messages
        with os.fdopen(writing, "wb") as pipe:
            pickle.dump(answer, pipe)
        sys.stdout.flush()
        sys.stderr.flush()
        status = 0
    finally:
        # Don't run the parent's exit handlers a second time.
        os._exit(status)
