"""The rolling recording of `lanner run`, and the event types that are collected for it."""

from dataclasses import dataclass
from pathlib import Path

from lanner.errors import BadInput
from lanner.recorder.rolling.recording import RollingRecording
from lanner.ruleset.compile import CompiledDetection
from lanner.settings import Settings
from lanner.wiring.pushdown.always_sent import always_sent
from schemas.filter import PushdownFilter, always
from schemas.text.notes import OnNote


@dataclass(frozen=True, slots=True)
class Collected:
    """What a collector has to collect."""

    event_types: frozenset[str]
    pushdown_filter: PushdownFilter


def open_recording(settings: Settings, note: OnNote) -> RollingRecording | None:
    """Open the recording, if it is enabled and the folder can be used: detection matters more.

    Args:
        settings: of this run.
        note: receives the reason if nothing is recorded.
    """
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
