"""Opens stores: of events and alerts, dead letters, and records of actions; each the broker's topics, or files."""

import re
import time
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
from lanner.settings.sections.model import KafkaSettings
from lanner.wiring.kafka import reachable_connection
from processor.language.ast import Node
from schemas.filter import PushdownFilter, always

_MOST_CONDITIONS = 40
"""SQL evaluates each condition on each event: with all shipped rules, that takes longer than evaluating all events."""

_MAX_BY = 200

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    from lanner.actions.book import ActionBook, ActionRecords
    from lanner.archive.files import ArchiveFiles
    from lanner.archive.store import ArchiveStore
    from lanner.hunting.sources import RowSource
    from schemas.action import ActionDecision, ActionIntent


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


@dataclass(frozen=True, slots=True)
class OpenRecords:
    """The records of actions, read to their ends."""

    records: "ActionRecords"
    book: "ActionBook"

    def update(self) -> None:
        """Read what was stored since. Raises OSError or BusUnavailable."""
        self.records.update(self.book)

    def write(self, record: "ActionIntent | ActionDecision") -> None:
        """Store a record. Raises BadInput without a key, BadActionRecord, OSError or BusUnavailable."""
        self.records.write(record)
        # A topic returns it only after a while.
        self.book.take(record, time.time_ns())


def is_fleet(settings: Settings) -> bool:
    """Return whether actions are those of a fleet: a broker is configured."""
    return settings.kafka != KafkaSettings()


def open_records(settings: Settings, sign_key: Path | None = None) -> OpenRecords:
    """Open and read the records of actions: this host's file, or, if a broker is configured, a fleet's topics.

    Args:
        settings: state where they are.
        sign_key: signs what is written to a fleet's topics; without one, actions.key_file does.

    Raises:
        BadInput: a key can't be used, or there are no records on this host.
        DatabaseUnusable: the file can't be opened.
        BusUnavailable: the broker is not reachable.
    """
    from lanner.actions.book import ActionBook

    book = ActionBook()
    records = _fleet(settings, sign_key) if is_fleet(settings) else _local(settings)
    records.update(book)
    return OpenRecords(records, book)


def _local(settings: Settings) -> "ActionRecords":
    from lanner.actions.one_host import LocalActionRecords

    return LocalActionRecords(Path(settings.actions.state_dir))


def _fleet(settings: Settings, sign_key: Path | None) -> "ActionRecords":
    need("processor", "confluent_kafka", "cryptography")
    from lanner.actions.topics import TopicActionRecords
    from lanner.wiring.published import read_public_keys

    known = read_public_keys("actions.people_key_files", settings.actions.people_key_files)
    return TopicActionRecords(reachable_connection(settings), signing_key(settings, sign_key), known)


def signing_key(settings: Settings, sign_key: Path | None = None) -> "Ed25519PrivateKey | None":
    """Return the key that signs intents and decisions; None if none is set. Raises BadInput."""
    from lanner.wiring.published import private_key

    if sign_key is not None:
        return private_key(sign_key)
    if settings.actions.key_file is None:
        return None
    return private_key(Path(settings.actions.key_file), "actions.key_file", "LANNER_ACTIONS_KEY_PASSWORD")


def this_person(settings: Settings) -> str:
    """Return who decides, as name@machine."""
    # It needs the client of the broker, and help must not.
    from lanner.ruleset.published import current_host, current_user

    return f"{current_user()}@{current_host(settings.host.name)}"[:_MAX_BY]
