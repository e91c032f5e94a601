from pathlib import Path

import pytest

from lanner.recorder.recording import RecordingStore
from lanner.recorder.rolling import ALERTS, RollingRecording
from tests.unit.lanner.recorder.test_event_stores import EventStoreTests, Filled, stored_now


class TestRecordingStore(EventStoreTests):
    """A recording of `lanner run`, which began a file for each batch and each alert."""

    @pytest.fixture
    def filled(self, tmp_path: Path) -> Filled:
        """Return a recording; the ends of its second files are missing."""
        stored = stored_now()
        for batch, alert in zip(stored.batches, stored.alerts, strict=True):
            recording = RollingRecording(tmp_path, 8 << 20, on_error=print)
            recording.store(batch)
            recording.store_alert(alert)
            recording.close()
        for folder in (tmp_path, tmp_path / ALERTS):
            damaged = sorted(folder.glob("*.avro"))[1]
            damaged.write_bytes(damaged.read_bytes()[:-20])
        notes: list[str] = []
        return Filled(RecordingStore(tmp_path, lambda text, *_: notes.append(text)), stored, notes)
