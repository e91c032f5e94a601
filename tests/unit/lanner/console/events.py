"""Retained events for the tests: one read of a file, whose alert `the_read` is."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from lanner.console.searches import SearchSource
from lanner.console.story.reading import EventArchive
from lanner.recorder.recording import RecordingStore
from lanner.recorder.rolling import RollingRecording
from schemas.batch import EventBatch
from tests.unit.recordings import shadow_read, write_recording

THE_READ = {"host_id": "1", "event": {"evt.num": 1, "proc.pid": 4711}}
"""What an alert of the read has."""


def read_at(at: int, text: str = "") -> EventBatch:
    """Return a batch with the read at a time, ns since the epoch; text: of an attacker, in place of all names."""
    batch = shadow_read()
    batch.columns["time"][0] = at
    if text:
        batch.strings[3] = text
        facts = {"name": text, "exe": text, "exepath": text, "args": (text,), "cwd": text, "user": text, "group": text}
        batch = replace(batch, hostname=text, processes=[replace(each, **facts) for each in batch.processes])
    return replace(batch, created=at)


def retained(folder: Path, *batches: EventBatch) -> dict[str, Any]:
    """Retain events below a folder; return what a console needs to search and show them."""
    recording = RollingRecording(folder / "events", 8 << 20, on_error=print)
    for batch in batches:
        recording.store(batch)
    recording.close()
    file = write_recording(folder / "events.avro", *batches)
    return {
        "search": SearchSource(RecordingStore(file), "a recording"),
        "events": EventArchive(RecordingStore(folder / "events"), "They are retained for a day."),
    }
