import os
import time
from pathlib import Path

import pytest

from collector.publishing.spool import BROKEN, FULL, Spool
from schemas.encoding.batch import encode_batch
from schemas.encoding.recording import read_recording
from tests.unit.processor.batches import batch_of


def encoded(number: int, size: int = 0) -> bytes:
    """Return a batch of two events that does not compress."""
    noise = "".join(f"{number * 48271**index % 2147483647:x}" for index in range(size // 8))
    events = ({"type": "openat", "fd_name": f"/{number}/{index}/{noise}"} for index in range(2))
    return encode_batch(batch_of(*events, sequence=number))


def all_of(spool: Spool) -> list[bytes]:
    """Take and settle everything."""
    found = []
    while (taken := spool.take()) is not None:
        found.append(taken[0])
        spool.settle(taken[1])
    return found


def test_batches_come_back_in_order_as_encoded(tmp_path: Path) -> None:
    """Batches come out as they went in, byte for byte, and the folder is empty at the end."""
    spool = Spool(tmp_path / "spool", 1 << 20)
    batches = [encoded(number) for number in range(20)]
    for batch in batches:
        spool.append(batch)
    assert spool.has_unsent
    assert all_of(spool) == batches
    assert not spool.has_unsent
    assert list((tmp_path / "spool").iterdir()) == []


def test_what_was_not_delivered_survives_a_restart(tmp_path: Path) -> None:
    """Batches taken but not settled are returned again, before those never taken."""
    first = Spool(tmp_path, 1 << 20)
    batches = [encoded(number) for number in range(6)]
    first.append(batches[0])
    taken = first.take()
    assert taken is not None
    for batch in batches[1:]:
        first.append(batch)
    first.close()
    second = Spool(tmp_path, 1 << 20)
    assert all_of(second) == batches


def test_sent_batches_are_retained_and_not_given_again(tmp_path: Path) -> None:
    """Only a restart returns them, ahead of later ones; settling them all deletes them."""
    first = Spool(tmp_path, 1 << 20)
    sent, later = [encoded(1, 40_000) for _ in range(4)], encoded(2)
    segment = first.store_sent(sent)
    assert segment is not None
    first.append(later)
    assert first.take() == (later, first._segments[-1])
    first.close()
    assert all_of(Spool(tmp_path, 1 << 20)) == [*sent, later]
    for _ in sent:
        first.settle(segment)
    assert not segment.path.exists()


def test_a_full_spool_drops_the_oldest_and_counts(tmp_path: Path) -> None:
    """The limit holds, the newest stay in order, and events retained and lost add up."""
    limit = 256 * 1024
    spool = Spool(tmp_path, limit)
    batches = [encoded(number, 4000) for number in range(300)]
    for batch in batches:
        spool.append(batch)
        assert spool.size <= limit
    stored = all_of(spool)
    assert stored == batches[-len(stored) :]
    assert 0 < len(stored) < len(batches)
    assert spool.lost == {FULL: 2 * (len(batches) - len(stored))}


def test_losses_that_a_dropped_batch_reported_are_not_forgotten(tmp_path: Path) -> None:
    """The spool takes over their counts."""
    spool = Spool(tmp_path, 1)
    reported = batch_of({"type": "openat", "fd_name": "/x"})
    reported.lost = {"events_ring_full": 5}
    spool.append(encode_batch(reported))
    for number in range(40):
        spool.append(encoded(number, 8000))
    assert spool.lost["events_ring_full"] == 5


def test_a_segment_that_was_cut_off_gives_what_is_whole(tmp_path: Path) -> None:
    """A process killed while writing loses at most the last batch, and later ones are intact."""
    spool = Spool(tmp_path, 1 << 20)
    batches = [encoded(number) for number in range(5)]
    for batch in batches:
        spool.append(batch)
    spool.close()
    (path,) = tmp_path.glob("*.avro")
    path.write_bytes(path.read_bytes()[:-20])
    notes: list[str] = []
    reopened = Spool(tmp_path, 1 << 20, on_error=notes.append)
    reopened.append(batches[4])
    assert all_of(reopened) == [*batches[:4], batches[4]]
    assert reopened.lost == {BROKEN: 1}
    assert len(notes) == 1


def test_a_segment_is_a_recording_for_its_owner_alone(tmp_path: Path) -> None:
    """Events are private, and the tools for recordings can read them."""
    spool = Spool(tmp_path / "spool", 1 << 20)
    spool.append(encoded(7))
    spool.close()
    (path,) = (tmp_path / "spool").iterdir()
    assert path.stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "spool").stat().st_mode & 0o777 == 0o700
    assert [batch.sequence for batch in read_recording(path)] == [7]


def test_a_full_disk_makes_room_by_dropping_the_oldest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """If even that does not help, the newest is counted as lost, and nothing is raised."""
    spool = Spool(tmp_path, 1 << 20)
    spool.append(encoded(1))
    spool.close()
    spool = Spool(tmp_path, 1 << 20)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("collector.publishing.spool.RecordingWriter", full)
    spool.append(encoded(2))
    assert spool.lost == {FULL: 2, "spool_failed": 2}
    assert not spool.has_unsent


def test_what_is_spooled_is_brought_to_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Within a second, on another thread, including the folder; at the end at once."""
    synced: set[str] = set()
    whole = os.fsync

    def fsync(file: int) -> None:
        synced.add(str(Path(f"/proc/self/fd/{file}").readlink()))
        whole(file)

    monkeypatch.setattr(os, "fsync", fsync)
    spool = Spool(tmp_path / "spool", 1 << 20)
    expected = {str(tmp_path / "spool"), str(tmp_path / "spool" / "000000000001.avro")}
    spool.append(encoded(1))
    until = time.monotonic() + 10
    while not expected <= synced and time.monotonic() < until:
        time.sleep(0.05)
    assert expected <= synced
    synced.clear()
    spool.append(encoded(2))
    spool.close()
    assert expected <= synced
