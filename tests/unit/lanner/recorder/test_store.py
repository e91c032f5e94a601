from dataclasses import replace
from pathlib import Path

import pytest

from lanner.errors import BadInput
from lanner.recorder.store import LOCK, ReadBudget, StoredBatch, from_files, is_recorded
from tests.unit.recordings import shadow_read, write_recording

SECOND = 1_000_000_000


def stored(folder: Path) -> None:
    """Write three files of two batches each, one second apart."""
    for number in range(3):
        first, second = (
            replace(shadow_read(), sequence=at, created=at * SECOND) for at in (2 * number, 2 * number + 1)
        )
        write_recording(folder / f"{number:012}.avro", first, second)


def sequences(folder: Path, since: int) -> list[int]:
    """Return the sequence numbers that are read for a time, in seconds."""
    return [each.batch.sequence for each in from_files((folder,), since * SECOND)]


def test_files_that_end_before_the_time_are_not_read(tmp_path: Path) -> None:
    """The last file that begins before it is the first one read."""
    stored(tmp_path)
    (tmp_path / LOCK).touch()
    assert [sequences(tmp_path, since)[0] for since in (0, 1, 2, 3, 4, 9)] == [0, 0, 2, 2, 4, 4]


def test_files_of_unknown_order_are_all_read(tmp_path: Path) -> None:
    """A folder that somebody collected may have recordings of several hosts."""
    stored(tmp_path)
    assert sequences(tmp_path, 9) == list(range(6))


def test_a_damaged_file_is_not_taken_for_the_first(tmp_path: Path) -> None:
    """Its beginning is unknown, so the file before it is read, too."""
    stored(tmp_path)
    (tmp_path / LOCK).touch()
    (tmp_path / f"{2:012}.avro").write_bytes(b"Obj\x01")
    assert sequences(tmp_path, 9) == [2, 3]


def test_recordings_and_captures_are_known_by_their_first_bytes(tmp_path: Path) -> None:
    """Neither is a file of JSON, even if it begins with bytes that are no text, nor one that is empty."""
    contents = {"avro": b"Obj\x01", "scap.gz": b"\x1f\x8b\x08", "json": b"{}", "damaged": b"\xff\0\n{}", "empty": b""}
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)

    recorded = [name for name in (*contents, "absent", ".") if is_recorded(tmp_path / name)]
    assert recorded == ["avro", "scap.gz", "."]


def test_a_folder_without_recordings_is_an_error(tmp_path: Path) -> None:
    """It is named."""
    with pytest.raises(BadInput, match="no recordings in this folder"):
        sequences(tmp_path, 0)


def test_a_budget_ends_with_its_time() -> None:
    """The remark states what to do."""
    now = [0.0]
    budget = ReadBudget(20, 1000, lambda: now[0])
    assert (budget.is_spent(), budget.remark()) == (False, "")
    now[0] = 20
    assert budget.is_spent()
    assert budget.remark() == "Reading ended after 20 s: later events are missing. Show a shorter time."


def test_a_budget_ends_with_its_bytes() -> None:
    """Those of the messages that were read."""
    budget = ReadBudget(20, 3 << 20)
    for size in (2 << 20, 2 << 20):
        assert not budget.is_spent()
        budget.take(StoredBatch(shadow_read(), 0, size=size))
    assert budget.is_spent()
    assert "after 3 MiB" in budget.remark()


def test_a_reading_that_nobody_waits_for_ends_without_a_remark() -> None:
    """There is nobody to read it."""
    budget = ReadBudget()
    budget.cancel()
    assert (budget.is_spent(), budget.remark()) == (True, "")
