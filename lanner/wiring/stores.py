"""Opens stores: of events and alerts, and of dead letters; each the broker's topics, or files."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from collector.events.system_calls import EVERYTHING
from foundation.text import OnNote
from lanner.dead_letters import DeadLetterStore, outboxes
from lanner.errors import BadInput
from lanner.libraries import need
from lanner.recorder.recording import RecordingStore
from lanner.recorder.rolling import RollingRecording
from lanner.recorder.store import EventStore, is_archive
from lanner.ruleset.compile import CompiledDetection
from lanner.settings import Settings
from lanner.settings.faults import BadSettings, SettingFault, nearest
from lanner.settings.sections.fleet import json_topic_names
from lanner.wiring.kafka import reachable_connection
from processor.language.ast import Node
from schemas.filter import PushdownFilter, always

_MOST_CONDITIONS = 40
"""SQL evaluates each condition on each event: with all shipped rules, that takes longer than evaluating all events."""

if TYPE_CHECKING:
    from lanner.archive.files import ArchiveFiles
    from lanner.archive.store import ArchiveStore
    from lanner.hunting.sources import RowSource


def open_stores(settings: Settings, *, local: bool) -> Sequence[DeadLetterStore]:
    """Return the stores of dead letters. Raises BadInput and BusUnavailable."""
    if local:
        folder = Path(settings.notifier.state_dir)
        found = outboxes(folder)
        if not found:
            raise BadInput(f"notifier.state_dir: {folder}: no outbox found. Leave out --local to read from the broker.")
        return found
    need("notifier", "confluent_kafka")
    from lanner.dead_letter_topics import TopicDeadLetters

    connection = reachable_connection(settings)
    own = json_topic_names(settings.json_sources)
    return [TopicDeadLetters(connection, "notifier"), TopicDeadLetters(connection, "processor", own)]


def open_events(settings: Settings, recording: Path | None, note: OnNote) -> EventStore:
    """Return the store of events and alerts: a recording's folder or file, an archive, or None for a fleet's topics.

    note receives what can't be read.

    Raises:
        BadInput: The archive can't be opened.
        BadSettings: The settings of the broker are wrong.
        BusUnavailable: No broker takes connections, or its client isn't installed.
    """
    if recording is not None:
        return open_archive(settings, recording, note) if is_archive(recording) else RecordingStore(recording, note)
    need("processor", "confluent_kafka")
    from lanner.recorder.topic import TopicStore

    return TopicStore(reachable_connection(settings), note)


def open_candidates(settings: Settings, recording: Path | None, conditions: Sequence[Node], note: OnNote) -> EventStore:
    """Return a store as open_events does; of an archive, one that leaves out events for which no condition is true.

    conditions: on system calls, with resolved macros; none to leave out nothing. Many of them leave out nothing either.
    """
    if recording is None or not 0 < len(conditions) <= _MOST_CONDITIONS or not is_archive(recording):
        return open_events(settings, recording, note)
    need("archive", "duckdb", "sqlglot", "pyarrow", "numpy")
    from lanner.archive.store import ArchiveStore
    from lanner.hunting.candidates import CandidateRows

    return ArchiveStore(archive_files(settings, recording), note, CandidateRows(conditions))


def open_archive(settings: Settings, folder: str | Path, note: OnNote) -> "ArchiveStore":
    """Return the store of an archive. note receives what can't be read. Raises BadInput and BusUnavailable."""
    from lanner.archive.store import ArchiveStore

    return ArchiveStore(archive_files(settings, folder), note)


def row_source(settings: Settings, place: Path | None, note: OnNote) -> "RowSource":
    """Return where hunts read: an archive, a recording, or None for the topics. Raises BadInput and BusUnavailable."""
    from lanner.hunting.sources import ArchiveSource, StoreSource

    if place is not None and is_archive(place):
        return ArchiveSource(archive_files(settings, place))
    return StoreSource(open_events(settings, place, note))


def archive_files(settings: Settings, folder: str | Path) -> "ArchiveFiles":
    """Return the files of an archive, also in an S3-compatible store. Raises BadInput and BusUnavailable."""
    need("archive", "pyarrow", "numpy")
    from lanner.archive.files import open_folder

    # A path has lost one of the slashes.
    text = re.sub("^s3:/+", "s3://", str(folder))
    try:
        return open_folder(text, settings.archive.s3_endpoint)
    except (OSError, ValueError) as error:
        raise BadInput(f"archive: {text}: {error}.") from None


def always_sent(settings: Settings) -> frozenset[str]:
    """Return the configured event types. Raises BadSettings if the collector doesn't support one."""
    names = frozenset(settings.collector.always_sent)
    if unknown := sorted(names - EVERYTHING):
        raise BadSettings(*(_fault(settings, name) for name in unknown))
    return names


def _fault(settings: Settings, name: str) -> SettingFault:
    setting = f"collector.always_sent[{settings.collector.always_sent.index(name)}]"
    text = f"{setting}: {name!r} is not an event type that the collector supports."
    return SettingFault(setting, text, nearest(name, EVERYTHING))


@dataclass(frozen=True, slots=True)
class Collected:
    """The events that a collector has to collect."""

    event_types: frozenset[str]
    pushdown_filter: PushdownFilter


def open_recording(settings: Settings, note: OnNote) -> RollingRecording | None:
    """Open the recording, if it is enabled; report a folder that can't be used, and go on: detection matters more."""
    if settings.keep.size_mib <= 0:
        return None
    try:
        return RollingRecording(Path(settings.keep.folder), settings.keep.size_mib << 20, on_error=note)
    except BadInput as error:
        note(f"{error} This run records nothing, so `lanner context` won't show what it sees.", "warning")
        return None


def collected(settings: Settings, detection: CompiledDetection) -> Collected:
    """Return what to collect: what rules need, and for a recording what shows what led to an alert. Raises BadInput."""
    if settings.keep.size_mib <= 0:
        return Collected(detection.event_types, detection.pushdown_filter)
    names = always_sent(settings)
    return Collected(detection.event_types | names, always(detection.pushdown_filter, names))
