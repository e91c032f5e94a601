"""Opens stores: of events and alerts, and of dead letters; each the broker's topics, or files of this host."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from collector.events.system_calls import EVERYTHING
from foundation.text import OnNote
from lanner.dead_letters.store import DeadLetterStore, outboxes
from lanner.errors import BadInput
from lanner.libraries import need
from lanner.recorder.recording import RecordingStore
from lanner.recorder.rolling import RollingRecording
from lanner.recorder.store import EventStore
from lanner.ruleset.compile import CompiledDetection
from lanner.settings import Settings
from lanner.settings.faults import BadSettings, SettingFault, nearest
from lanner.settings.sections.fleet import json_topic_names
from lanner.wiring.kafka import reachable_connection
from schemas.filter import PushdownFilter, always


def open_stores(settings: Settings, *, local: bool) -> Sequence[DeadLetterStore]:
    """Return the stores of dead letters. Raises BadInput and BusUnavailable."""
    if local:
        folder = Path(settings.notifier.state_dir)
        found = outboxes(folder)
        if not found:
            raise BadInput(f"notifier.state_dir: {folder}: no outbox found. Leave out --local to read from the broker.")
        return found
    need("notifier", "confluent_kafka")
    from lanner.dead_letters.topics import TopicDeadLetters

    connection = reachable_connection(settings)
    own = json_topic_names(settings.json_sources)
    return [TopicDeadLetters(connection, "notifier"), TopicDeadLetters(connection, "processor", own)]


def open_events(settings: Settings, recording: Path | None, note: OnNote) -> EventStore:
    """Return the store of events and alerts: a recording's folder or file, or None for the topics of a fleet.

    note receives what can't be read.

    Raises:
        BadSettings: The settings of the broker are wrong.
        BusUnavailable: No broker takes connections, or its client isn't installed.
    """
    if recording is not None:
        return RecordingStore(recording, note)
    need("processor", "confluent_kafka")
    from lanner.recorder.topic import TopicStore

    return TopicStore(reachable_connection(settings), note)


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
