"""The three consoles: of a fleet's topics, of a recording, and of the alerts of this process."""

import time
from collections.abc import Iterable
from functools import partial
from pathlib import Path

from bus.connection import Connection
from lanner.console.feed.files import AuditFile, MarkFile
from lanner.console.feed.queue import LocalAlerts
from lanner.console.feed.recording import RecordedAlerts
from lanner.console.fleet.sources.files import FilesOnly
from lanner.console.fleet.sources.local import LocalHost
from lanner.console.story.reading import EventArchive
from lanner.console.story.rules import RuleBook
from lanner.recorder.rolling.alerts import stored_alerts
from lanner.recorder.rolling.events import RecordingHistory
from lanner.recorder.topic.messages import reader_of_alerts
from lanner.settings import Settings
from lanner.settings.sections.sources.json_sources import json_topic_names
from lanner.wiring.http.console import AUDIT, MARKS, RunningConsole
from lanner.wiring.http.console_sources import (
    fleet_pipeline,
    outbox_pipeline,
    recording_search,
    topic_search,
)
from schemas.alert import Alert
from schemas.text.notes import OnNote

_FLEET = "The topic events retains them for 24 h, or as set with `lanner topics create --events-retention`."
_HOST = "This host retains as many as fit in keep.size_mib."
_NOTHING = "This host retains none: keep.size_mib is 0."
_FILE = "The recording has those that its writer retained: keep.size_mib of `lanner run`."


def fleet_console(
    settings: Settings, folder: Path, connection: Connection, note: OnNote, listen: str | None
) -> RunningConsole:
    """Start a console that reads the topics of a fleet, which were checked. Raises BadInput and BusUnavailable."""
    # These need the broker's client.
    from lanner.console.feed.topics import AlertTopic, AuditTopic, MarkTopic  # noqa: PLC0415
    from lanner.console.fleet.sources.topics import FleetTopics  # noqa: PLC0415
    from lanner.recorder.topic.events import FleetHistory  # noqa: PLC0415

    since = time.time_ns() // 1_000_000 - settings.console.max_days * 86_400_000
    return RunningConsole(
        settings,
        folder,
        source=lambda positions: AlertTopic(
            connection, reader_of_alerts(connection), since_ms=since, positions=positions
        ),
        marks=partial(MarkTopic, connection),
        audit=partial(AuditTopic, connection),
        fleet=FleetTopics(settings, connection, RuleBook(settings).rules),
        search=topic_search(settings, connection),
        pipeline=fleet_pipeline(connection, json_topic_names(settings.json_sources)),
        described=f"the fleet at {connection.bootstrap_servers}",
        events=EventArchive(FleetHistory(connection), _FLEET),
        note=note,
        listen=listen,
    )


def recording_console(
    settings: Settings, folder: Path, recording: Path, note: OnNote, listen: str | None, *, follow: bool
) -> RunningConsole:
    """Start a console that reads the alerts of a recording. Raises BadInput.

    Args:
        settings: of the console.
        folder: for its files.
        recording: the recording.
        note: receives messages for an operator.
        listen: address given by a flag.
        follow: whether the recording continues.
    """
    source = RecordedAlerts(recording, follow=follow)
    return RunningConsole(
        settings,
        folder,
        source=lambda _: source,
        marks=partial(MarkFile, folder / MARKS),
        audit=partial(AuditFile, folder / AUDIT),
        fleet=FilesOnly(settings, RuleBook(settings).rules),
        search=recording_search(settings, recording),
        pipeline=outbox_pipeline(settings) if follow else None,
        described=f"the recording {recording}",
        events=_recorded(recording, _FILE),
        is_recording=not follow,
        note=note,
        listen=listen,
    )


class HostConsole:
    """The console of `lanner run`, and what takes this host's alerts, batches and rules."""

    def __init__(self, settings: Settings, note: OnNote) -> None:
        """Start it. Raises BadInput."""
        folder, kept = Path(settings.console.state_dir), Path(settings.keep.folder)
        earlier: Iterable[Alert] = stored_alerts(kept) if settings.keep.size_mib and kept.is_dir() else ()
        self._alerts = LocalAlerts(earlier)
        self._host = LocalHost(settings)
        self._console = RunningConsole(
            settings,
            folder,
            source=lambda _: self._alerts,
            marks=partial(MarkFile, folder / MARKS),
            audit=partial(AuditFile, folder / AUDIT),
            fleet=self._host,
            search=recording_search(settings, kept) if settings.keep.size_mib else None,
            pipeline=outbox_pipeline(settings),
            described="this host",
            events=_recorded(kept, _HOST) if settings.keep.size_mib else EventArchive(None, _NOTHING),
            note=note,
        )
        self.address = self._console.address
        self.put = self._alerts.put
        """Takes an alert."""
        self.see = self._host.see
        """Takes a batch."""
        self.attach = self._host.attach
        """Takes what returns the active rules, and what returns their cost."""

    @property
    def dropped(self) -> int:
        """Alerts that came too fast."""
        return self._alerts.dropped

    def stop(self) -> None:
        """Stop it."""
        self._console.stop()


def _recorded(path: Path, retention: str) -> EventArchive:
    """Return the events of a recording; one file has alerts only."""
    if path.is_file():
        return EventArchive(None, f"{path} has no events, only alerts.")
    return EventArchive(RecordingHistory(path), retention)
