"""Merged files, and what is deleted."""

from dataclasses import replace
from pathlib import Path

import pyarrow.compute as pc
import pytest

from foundation.text import ignore_note
from lanner.archive import upkeep
from lanner.archive.files import HOUR_MS, open_folder, positions, read_rows
from lanner.archive.upkeep import Upkeep
from schemas.encoding.batch import encode_batch
from tests.unit.lanner.archive.test_intake import NOON, Received, intake, messages, sequences
from tests.unit.lanner.recorder.test_event_stores import stored_now

LATER = NOON + 2 * HOUR_MS


def filled(folder: Path) -> None:
    """Store six files of an hour, of two hosts."""
    taking = intake(folder)
    others = [encode_batch(replace(stored_now().batches[2], sequence=at)) for at in range(6)]
    for at, (message, other) in enumerate(zip(messages(6), others, strict=True)):
        taking.take("events", replace(message, at=2 * at), 0.0)
        taking.take("events", Received(other, NOON + at, 2 * at + 1), 0.0)
        list(taking.store_all())


def looked(folder: Path, now: int = LATER, max_days: int = 0, max_bytes: int = 0) -> Upkeep:
    """Return the upkeep of an archive after one look."""
    found = Upkeep(open_folder(str(folder)), ignore_note, max_days=max_days, max_bytes=max_bytes)
    found.look(now)
    return found


def test_the_files_of_an_hour_are_merged_into_one_with_the_same_batches(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ordered by host and time, in row groups of few hosts, or of a part of a host's time."""
    monkeypatch.setattr(upkeep, "_ROWS", 7)
    filled(tmp_path)
    files, before = open_folder(str(tmp_path)), sequences(tmp_path)
    looked(tmp_path, NOON + HOUR_MS)
    assert len(files.select("events")) == 6
    looked(tmp_path)

    (merged,) = files.select("events")
    rows = read_rows(files, merged, "events")
    keys = rows.select(["host_id", "time"])
    assert keys.equals(keys.sort_by([("host_id", "ascending"), ("time", "ascending")]))
    assert sequences(tmp_path) == before
    assert positions(files, "batches", [0]) == {0: 12}
    assert len(files.all("events")) == 7
    counts = looked(tmp_path).counts
    assert (len(files.all("events")), counts.merged, counts.files) == (1, 12, 2)
    assert sequences(tmp_path) == before
    assert pc.count_distinct(rows["offset"]).as_py() == 12


def test_old_files_are_deleted_but_not_the_one_that_states_where_to_continue(tmp_path: Path) -> None:
    """By age, and by size from the oldest hour on."""
    taking = intake(tmp_path)
    for at, message in enumerate(messages(4)):
        taking.take("events", replace(message, stamp=NOON + at * HOUR_MS), 0.0)
    list(taking.store_all())
    files = open_folder(str(tmp_path))
    size = sum(each.size for name in ("events", "batches") for each in files.all(name))

    assert looked(tmp_path, NOON + 50 * HOUR_MS, max_days=2).counts.deleted == 2
    assert sequences(tmp_path) == [1, 2, 3]
    assert looked(tmp_path, max_bytes=size // 2).counts.files == 4
    assert sequences(tmp_path) == [2, 3]
    assert looked(tmp_path, NOON + 500 * HOUR_MS, max_days=1).counts.oldest == NOON + 3 * HOUR_MS
    assert positions(files, "batches", [0]) == {0: 4}
