"""The three consoles: of a fleet's topics, of a recording, and of the alerts of this process."""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from functools import partial
from pathlib import Path

from bus.clients.availability import check_reachable
from bus.connection import Connection
from foundation.text import OnNote
from lanner.actions.one_host import LocalActionRecords
from lanner.console.actions import ActionSource
from lanner.console.feed_files import LineFile, LocalAlerts, MarkFile, RecordedAlerts
from lanner.console.fleet.ports import FilesOnly, LocalHost
from lanner.console.pipeline import PipelineSource, outbox_queues
from lanner.console.searches import SearchSource
from lanner.console.story.reading import EventArchive
from lanner.console.story.rules import RuleBook
from lanner.dead_letters import DeadLetterStore, outboxes
from lanner.errors import BadInput
from lanner.operations.freshness import Freshness
from lanner.recorder.recording import RecordingStore
from lanner.recorder.store import EventStore
from lanner.settings import Settings
from lanner.settings.sections.fleet import json_topic_names
from lanner.wiring.freshness import REACH_SECONDS, group_queues, reported_freshness
from lanner.wiring.hunts import hunt_source
from lanner.wiring.rules import find_rules
from lanner.wiring.stages.console import AUDIT, MARKS, RunningConsole
from processor.output.redaction import Redaction
from schemas.alert import Alert
from schemas.catalog.priorities import BY_NAME


def fleet_pipeline(connection: Connection, own_topics: Sequence[str] = ()) -> PipelineSource:
    """Return the queues and dead letters of a fleet. own_topics: those that processors read by json_sources."""
    from lanner.dead_letter_topics import TopicDeadLetters

    @contextmanager
    def stores() -> Iterator[Sequence[DeadLetterStore]]:
        check_reachable(connection, REACH_SECONDS)
        yield [TopicDeadLetters(connection, "notifier"), TopicDeadLetters(connection, "processor", own_topics)]

    remarks = (
        "Not known here: what waits on the hosts' disks for the broker, and in outboxes of notifiers with --local.",
    )
    return PipelineSource(partial(group_queues, connection, own_topics), stores, remarks)


def outbox_pipeline(settings: Settings, current: Callable[[], Freshness | None] | None = None) -> PipelineSource:
    """Return the queues and dead letters of the sinks of one host. current: returns how current its detection is."""
    folder = Path(settings.notifier.state_dir)

    @contextmanager
    def stores() -> Iterator[Sequence[DeadLetterStore]]:
        with ExitStack() as opened:
            yield [opened.enter_context(closing(each)) for each in outboxes(folder)]

    remarks = (
        "Without a broker, events are evaluated as they come, and only sinks that send over the network have a queue.",
    )
    return PipelineSource(partial(outbox_queues, folder), stores, remarks, current)


def _search(settings: Settings, store: EventStore) -> SearchSource:
    """Return the search in the events of a store."""
    is_fleet = store.scope == "fleet"
    described = f"the events that the broker at {store.name} retains" if is_fleet else f"the events in {store.name}"
    return SearchSource(store, described, lambda: find_rules(settings).files, Redaction(settings.redact))


_FLEET = "The topic events retains them for 24 h, or as set with `lanner topics create --events-retention`."
_HOST = "This host retains as many as fit in keep.size_mib."
_NOTHING = "This host retains none: keep.size_mib is 0."
_FILE = "The recording has those that its writer retained: keep.size_mib of `lanner run`."


def fleet_console(
    settings: Settings, folder: Path, connection: Connection, note: OnNote, listen: str | None
) -> RunningConsole:
    """Start a console that reads the topics of a fleet, which were checked. Raises BadInput and BusUnavailable."""
    # These need the broker's client.
    from lanner.console.feed_topics import AlertTopic, AuditTopic, MarkTopic
    from lanner.console.fleet.topics import FleetTopics, PublishedRulesFollower
    from lanner.recorder.topic import TopicStore, reader_of_alerts
    from lanner.wiring.published import active_of_published, public_keys

    rules = PublishedRulesFollower(
        connection,
        public_keys(settings),
        partial(active_of_published, settings),
        RuleBook(partial(find_rules, settings)).rules,
        BY_NAME[settings.priority],
    )
    since = time.time_ns() // 1_000_000 - settings.console.max_days * 86_400_000
    store = TopicStore(connection, note)
    return RunningConsole(
        settings,
        folder,
        source=lambda positions: AlertTopic(
            connection, reader_of_alerts(connection, note), since_ms=since, positions=positions
        ),
        marks=partial(MarkTopic, connection),
        audit=partial(AuditTopic, connection),
        fleet=FleetTopics(connection, rules),
        search=_search(settings, store),
        hunts=hunt_source(settings, has_topics=True),
        actions=_fleet_actions(settings, connection),
        pipeline=fleet_pipeline(connection, json_topic_names(settings.json_sources)),
        described=f"the fleet at {connection.bootstrap_servers}",
        events=EventArchive(store, _FLEET),
        note=note,
        listen=listen,
    )


def _fleet_actions(settings: Settings, connection: Connection) -> ActionSource:
    """Return the records of a fleet's actions; a person can decide if there is a key. Raises BadInput."""
    from lanner.actions.topics import TopicActionRecords
    from lanner.wiring.stages.action_records import signing_key

    key = signing_key(settings)
    missing = "Nobody can decide here: set actions.key_file of this console to a key that hosts accept."
    return ActionSource(lambda: TopicActionRecords(connection, key), "" if key is not None else missing)


def recording_console(
    settings: Settings, folder: Path, recording: Path, note: OnNote, listen: str | None, *, follow: bool
) -> RunningConsole:
    """Start a console that reads the alerts of a recording; follow one that continues. Raises BadInput."""
    source = RecordedAlerts(recording, note, follow=follow)
    store = RecordingStore(recording, note)
    return RunningConsole(
        settings,
        folder,
        source=lambda _: source,
        marks=partial(MarkFile, folder / MARKS),
        audit=partial(LineFile, folder / AUDIT),
        fleet=FilesOnly(BY_NAME[settings.priority], RuleBook(partial(find_rules, settings)).rules),
        search=_search(settings, store),
        hunts=hunt_source(settings, recording),
        pipeline=outbox_pipeline(settings, partial(_reported, settings)) if follow else None,
        described=f"the recording {recording}",
        events=_archive(store, _FILE),
        is_recording=not follow,
        note=note,
        listen=listen,
    )


class HostConsole:
    """The console of `lanner run`, and its sources: this host's alerts, batches and rules."""

    def __init__(self, settings: Settings, note: OnNote) -> None:
        """Start it. Raises BadInput."""
        folder, kept = Path(settings.console.state_dir), Path(settings.keep.folder)
        store = RecordingStore(kept, note)
        earlier: Iterable[Alert] = store.alerts() if settings.keep.size_mib and kept.is_dir() else ()
        self.alerts = LocalAlerts(earlier)
        self.host = LocalHost(BY_NAME[settings.priority])
        self.read_current: Callable[[], Freshness | None] = lambda: None
        """Returns how current detection is; to be set once it runs."""
        self.console = RunningConsole(
            settings,
            folder,
            source=lambda _: self.alerts,
            marks=partial(MarkFile, folder / MARKS),
            audit=partial(LineFile, folder / AUDIT),
            fleet=self.host,
            search=_search(settings, store) if settings.keep.size_mib else None,
            hunts=hunt_source(settings, kept if settings.keep.size_mib else None),
            actions=ActionSource(lambda: LocalActionRecords(Path(settings.actions.state_dir))),
            pipeline=outbox_pipeline(settings, self._current),
            described="this host",
            events=_archive(store, _HOST) if settings.keep.size_mib else EventArchive(None, _NOTHING),
            note=note,
        )

    def _current(self) -> Freshness | None:
        return self.read_current()


def _reported(settings: Settings) -> Freshness | None:
    """Return what `lanner run` reports about itself; None if this user may not read it."""
    try:
        return reported_freshness(settings)
    except BadInput:
        return None


def _archive(store: EventStore, retention: str) -> EventArchive:
    """Return the events of a recording; one file has alerts only."""
    if store.scope == "file":
        return EventArchive(None, f"{store.name} has no events, only alerts.")
    return EventArchive(store, retention)
