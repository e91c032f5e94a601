import base64
import io
import os
import resource
import signal
import stat
from dataclasses import asdict
from pathlib import Path

import fastavro
import pytest

from lanner.errors import BadInput
from lanner.recorder import rolling
from lanner.recorder.recording import read_alerts
from lanner.recorder.rolling import ALERTS, RollingRecording
from lanner.recorder.store import from_files
from schemas.alert import ALERT_FORMAT
from schemas.batch import EventBatch
from schemas.encoding.recording import RecordingWriter
from tests.unit.alerts import alert
from tests.unit.processor.batches import batch_of

LIMIT = 1 << 20


def batch(sequence: int) -> EventBatch:
    """Return a batch that does not compress."""
    return batch_of({"type": "openat", "fd_name": base64.b64encode(os.urandom(22_000)).decode()}, sequence=sequence)


def sequences(folder: Path) -> list[int]:
    """Return the sequence numbers of the stored batches."""
    return [stored.batch.sequence for stored in from_files((folder,))]


def test_the_newest_stay_and_the_oldest_go(tmp_path: Path) -> None:
    """Total size is bounded, batches are in order without gaps, and only the owner can read the files."""
    folder = tmp_path / "kept"
    # An eighth is for alerts.
    keeping = RollingRecording(folder, LIMIT * 8 // 7, on_error=print)
    for number in range(1, 101):
        keeping.store(batch(number))
        assert sum(path.stat().st_size for path in folder.glob("*.avro")) <= LIMIT
    keeping.close()
    stored = sequences(folder)
    assert stored == list(range(stored[0], 101))
    assert len(stored) > 25
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir() if path.is_file()} == {0o600}


def test_a_later_run_goes_on_with_what_is_there(tmp_path: Path) -> None:
    """It continues after a truncated file, and with a smaller limit."""
    keeping = RollingRecording(tmp_path, LIMIT, on_error=print)
    for number in range(1, 11):
        keeping.store(batch(number))
    keeping.close()
    newest = max(tmp_path.glob("*.avro"))
    newest.write_bytes(newest.read_bytes()[:-100])
    before = sequences(tmp_path)
    reopened = RollingRecording(tmp_path, LIMIT, on_error=print)
    reopened.store(batch(11))
    reopened.close()
    assert sequences(tmp_path) == [*before, 11]
    smaller = RollingRecording(tmp_path, LIMIT // 4, on_error=print)
    smaller.close()
    assert sum(path.stat().st_size for path in tmp_path.glob("*.avro")) <= LIMIT // 4


def test_two_do_not_keep_in_one_folder(tmp_path: Path) -> None:
    """The second process fails, and the first continues."""
    first = RollingRecording(tmp_path, LIMIT, on_error=print)
    with pytest.raises(BadInput, match="another process records to this folder"):
        RollingRecording(tmp_path, LIMIT, on_error=print)
    first.close()
    RollingRecording(tmp_path, LIMIT, on_error=print).close()


def test_a_disk_that_takes_nothing_is_reported_once(tmp_path: Path) -> None:
    """What can't be stored is counted, writing is tried again after a while, and what is stored stays."""
    folder = tmp_path / "kept"
    reported: list[str] = []
    seconds = [0.0]
    keeping = RollingRecording(folder, LIMIT, on_error=reported.append, clock=lambda: seconds[0])
    (folder / "000000000001.avro").mkdir()
    (folder / "000000000002.avro").mkdir()
    for seconds[0], number in ((1, 1), (2, 2), (12, 3), (13, 4), (23, 5)):
        keeping.store(batch(number))
    keeping.close()
    assert keeping.missed == 4
    assert reported == [
        f"{folder}: Is a directory: nothing is recorded until there is room.",
        f"{folder}: 4 events and alerts were not recorded.",
    ]
    assert [path.name for path in folder.glob("*.avro") if path.is_file()] == ["000000000003.avro"]


def test_a_full_disk_erases_nothing(tmp_path: Path) -> None:
    """A failed write leaves no empty file behind, and the oldest files stay."""
    minutes = iter(range(0, 10_000, 60))
    keeping = RollingRecording(tmp_path, LIMIT, on_error=[].append, clock=minutes.__next__)
    for number in range(1, 6):
        keeping.store(batch(number))
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1, hard))
    try:
        for number in range(6, 30):
            keeping.store(batch(number))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, ignored)
    keeping.store(batch(30))
    keeping.close()
    assert sequences(tmp_path) == [1, 2, 3, 4, 5, 30]
    assert keeping.missed == 24
    assert all(path.stat().st_size for path in tmp_path.glob("*.avro"))


def test_events_lost_until_the_end_are_reported_on_close(tmp_path: Path) -> None:
    """Events that no write follows are reported by close."""
    messages: list[str] = []
    recording = RollingRecording(tmp_path / "recording", LIMIT, on_error=messages.append)
    (tmp_path / "recording" / "000000000001.avro").mkdir()
    recording.store(batch(1))
    recording.close()
    assert messages[-1] == f"{tmp_path / 'recording'}: 1 events and alerts were not recorded."


def test_alerts_are_stored_beside_the_events(tmp_path: Path) -> None:
    """In files of their own, so that a flood of events pushes none out; only the owner can read them."""
    recording = RollingRecording(tmp_path / "kept", LIMIT, on_error=print)
    for number in range(1, 61):
        recording.store(batch(number))
        if number == 1:
            recording.store_alert(alert(output="the first"))
    recording.close()
    assert sequences(tmp_path / "kept")[0] > 1
    folder = tmp_path / "kept" / ALERTS
    (stored,) = folder.iterdir()
    assert [found.output for found in read_alerts(stored)] == ["the first"]
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert stat.S_IMODE(stored.stat().st_mode) == 0o600


def test_alerts_are_limited_in_number_across_starts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The oldest go first."""
    monkeypatch.setattr(rolling, "MAX_ALERTS", 160)
    for start in range(5):
        recording = RollingRecording(tmp_path, LIMIT, on_error=print)
        for number in range(50):
            recording.store_alert(alert(output=str(start * 50 + number)))
        recording.close()
    stored = [int(found.output) for path in sorted((tmp_path / ALERTS).iterdir()) for found in read_alerts(path)]
    assert stored == list(range(stored[0], 250))
    assert 140 <= len(stored) <= 160


def test_a_release_with_another_format_continues_beside_the_old_files(tmp_path: Path) -> None:
    """Each file is read by the schema in it, and missing fields have their defaults."""
    older = next(schema for schema in ALERT_FORMAT.known.values() if schema != ALERT_FORMAT.schema)
    (tmp_path / ALERTS).mkdir()
    writer = RecordingWriter(tmp_path / ALERTS / "000000000001.avro", older)
    datum = io.BytesIO()
    fastavro.schemaless_writer(datum, older, asdict(alert(output="before")) | {"output_fields": {}, "tags": []})
    writer.write(bytes(10) + datum.getvalue())
    writer.close()
    recording = RollingRecording(tmp_path, LIMIT, on_error=print)
    recording.store_alert(alert(output="after"))
    recording.close()
    files = sorted((tmp_path / ALERTS).iterdir())
    assert [[found.output for found in read_alerts(path)] for path in files] == [["before"], ["after"]]


def test_a_folder_that_is_none_is_an_error(tmp_path: Path) -> None:
    """The error names the setting."""
    (tmp_path / "file").write_text("")
    with pytest.raises(BadInput, match=r"keep\.folder"):
        RollingRecording(tmp_path / "file", LIMIT, on_error=print)
