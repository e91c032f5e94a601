import os
import stat
from pathlib import Path

import pytest

from lanner.errors import BadInput
from lanner.recorder.batches import from_files
from lanner.recorder.rolling import RollingRecording, size_mib
from schemas.batch import EventBatch
from tests.unit.processor.batches import batch_of

LIMIT = 1 << 20


def batch(sequence: int) -> EventBatch:
    """Return a batch that does not compress."""
    return batch_of({"type": "openat", "fd_name": os.urandom(20_000).hex()}, sequence=sequence)


def sequences(folder: Path) -> list[int]:
    """Return the sequence numbers of the stored batches."""
    return [stored.batch.sequence for stored in from_files((folder,))]


def test_the_newest_stay_and_the_oldest_go(tmp_path: Path) -> None:
    """Total size is bounded, batches are in order without gaps, and only the owner can read the files."""
    folder = tmp_path / "kept"
    keeping = RollingRecording(folder, LIMIT, on_error=print)
    for number in range(1, 101):
        keeping.store(batch(number))
        assert sum(path.stat().st_size for path in folder.glob("*.avro")) <= LIMIT
    keeping.close()
    stored = sequences(folder)
    assert stored == list(range(stored[0], 101))
    assert len(stored) > 30
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()} == {0o600}


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
    """Events that can't be stored are counted and reported; detection goes on."""
    folder = tmp_path / "kept"
    reported: list[str] = []
    keeping = RollingRecording(folder, LIMIT, on_error=reported.append)
    (folder / "000000000001.avro").mkdir()
    (folder / "000000000002.avro").mkdir()
    for number in (1, 2, 3):
        keeping.store(batch(number))
    keeping.close()
    assert keeping.missed == 2
    assert reported == [
        f"{folder}: Is a directory: events are not stored until there is room.",
        f"{folder}: 2 events were not stored.",
    ]


def test_events_lost_until_the_end_are_reported_on_close(tmp_path: Path) -> None:
    """Events that no write follows are reported by close."""
    messages: list[str] = []
    recording = RollingRecording(tmp_path / "recording", LIMIT, on_error=messages.append)
    (tmp_path / "recording" / "000000000001.avro").mkdir()
    recording.store(batch(1))
    recording.close()
    assert messages[-1] == f"{tmp_path / 'recording'}: 1 events were not stored."


def test_a_folder_that_is_none_is_an_error(tmp_path: Path) -> None:
    """The error names the setting."""
    (tmp_path / "file").write_text("")
    with pytest.raises(BadInput, match=r"keep\.folder"):
        RollingRecording(tmp_path / "file", LIMIT, on_error=print)


def test_sizes_are_read_as_people_write_them() -> None:
    """Sizes are rounded down to MiB, at least one."""
    assert [size_mib(text) for text in ("256MB", "1GiB", "256mib", "1KB")] == [244, 1024, 256, 1]
    for text in ("256", "MB", "-1MB", "1.5GB", "1TB", "", "0MB"):
        with pytest.raises(BadInput, match="256MB"):
            size_mib(text)
