"""Iceberg tables of an archive, in a SQLite catalog."""

import os
import time
from collections import Counter
from contextlib import suppress
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pyiceberg.catalog import load_catalog
from pyiceberg.catalog.sql import SqlCatalog
from pyiceberg.table import Table

from foundation.text import ignore_note
from lanner.archive import iceberg
from lanner.archive.files import HOUR_MS, ArchiveFiles, open_folder, read_rows
from lanner.archive.iceberg import ArchiveTables, table_schema
from lanner.archive.intake import Intake
from lanner.archive.schema import DATASETS
from lanner.archive.upkeep import Upkeep
from tests.unit.lanner.archive.test_intake import NOON, messages, sequences, value_of

LATER = NOON + 2 * HOUR_MS


def catalog_of(folder: Path) -> str:
    """Return the URL of the catalog."""
    return f"sqlite:///{folder}/catalog.db"


def opened(folder: Path, notes: list[str] | None = None) -> tuple[ArchiveFiles, ArchiveTables]:
    """Return an archive and its tables, as of a new process."""
    files = open_folder(str(folder))
    note = ignore_note if notes is None else lambda text, _="": notes.append(text)
    return files, ArchiveTables(files, catalog_of(folder), note, {})


def looked(folder: Path, now: int = LATER, **limits: int) -> Upkeep:
    """Look after an archive, in a new process."""
    files, tables = opened(folder)
    upkeep = Upkeep(files, ignore_note, **{"max_days": 0, "max_bytes": 0} | limits, tables=tables)
    upkeep.look(now)
    return upkeep


def store(files: ArchiveFiles, numbers: range, hour: int = 0) -> None:
    """Store a file for each message."""
    taking = Intake(files, value_of, ignore_note, limit_bytes=1 << 20, flush_seconds=60.0)
    for message in messages(numbers.stop)[numbers.start :]:
        taking.take("events", replace(message, stamp=NOON + hour * HOUR_MS), 0.0)
        list(taking.store_all())


def table(folder: Path, dataset: str = "events") -> Table:
    """Return a table as other programs find it."""
    return load_catalog("lanner", type="sql", uri=catalog_of(folder)).load_table(f"lanner.{dataset}")


def paths(folder: Path, dataset: str = "events") -> list[str]:
    """Return the files to which a table refers."""
    return sorted(each.file.file_path.removeprefix("file://") for each in table(folder, dataset).scan().plan_files())


def on_disk(folder: Path, dataset: str = "events") -> list[str]:
    """Return the files of an archive, without replaced ones."""
    return sorted(each.path for each in open_folder(str(folder)).select(dataset))


def test_a_table_has_each_row_of_the_archive_with_its_values(tmp_path: Path) -> None:
    """Without those of 64 bits and no sign, at any depth; Lanner still reads its own columns."""
    files, _ = opened(tmp_path)
    store(files, range(3))
    looked(tmp_path)
    for dataset in ("events", "batches"):
        expected = pa.concat_tables(read_rows(files, each, dataset) for each in files.select(dataset))
        schema = table_schema(DATASETS[dataset])
        order = [("offset", "ascending"), *([("index", "ascending")] if dataset == "events" else [])]
        found = table(tmp_path, dataset).scan().to_arrow().cast(schema).sort_by(order)
        assert found.num_rows == expected.num_rows > 0
        assert found.schema.names == [name for name in expected.schema.names if name in schema.names]
        for field in schema:
            mine = expected.sort_by(order)[field.name]
            if pa.types.is_nested(field.type):
                both = [[_pruned(each, field.type) for each in rows.to_pylist()] for rows in (mine, found[field.name])]
                assert both[0] == both[1], field.name
            else:
                assert mine.cast(field.type, safe=False).equals(found[field.name]), field.name
    assert "proc_exe_ino" not in table(tmp_path).schema().column_names
    assert len(list(table(tmp_path).scan("time < '2020-01-01T00:00:00'").plan_files())) == 0
    assert sequences(tmp_path) == [0, 1, 2]


def _pruned(value: Any, kind: pa.DataType) -> Any:
    """Return a value without what a type lacks; PyIceberg reads a list of structs that is null as an empty one."""
    if value is None:
        return [] if pa.types.is_list(kind) else None
    if pa.types.is_struct(kind):
        return {each.name: _pruned(value[each.name], each.type) for each in kind}
    return [_pruned(each, kind.value_type) for each in value] if pa.types.is_list(kind) else value


def test_a_look_that_is_killed_at_any_point_leaves_each_row_once_and_no_missing_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before or after a commit, or before a deletion, while files are added, merged and become too old.

    At every eleventh of these points: all of them take half a minute.
    """
    commit, delete = SqlCatalog.commit_table, Upkeep._delete
    left = 0

    def step() -> None:
        nonlocal left
        left -= 1
        if left == 0:
            raise KeyboardInterrupt

    def committed(*arguments: Any) -> Any:
        step()
        done = commit(*arguments)
        step()
        return done

    def deleted(*arguments: Any) -> None:
        step()
        delete(*arguments)

    monkeypatch.setattr(SqlCatalog, "commit_table", committed)
    monkeypatch.setattr(Upkeep, "_delete", deleted)
    last = NOON + 40 * HOUR_MS
    for kill_at in count(3, 11):
        folder = tmp_path / str(kill_at)
        folder.mkdir()
        files, _ = opened(folder)
        store(files, range(2))
        store(files, range(2, 3), 30)
        left = kill_at
        for now in (NOON, LATER, LATER, last, last):
            with suppress(KeyboardInterrupt):
                looked(folder, now, max_days=int(now == last))
            assert set(paths(folder)) <= {each.path for each in files.all("events")}
            offsets = Counter(table(folder).scan().to_arrow()["offset"].to_pylist())
            assert len(set(offsets.values())) <= 1
        was_killed, left = left <= 0, 0
        looked(folder, last, max_days=1)
        assert paths(folder) == on_disk(folder)
        if not was_killed:
            break
    assert kill_at > 10


def test_of_two_processes_one_changes_a_table_and_its_metadata_stays_bounded(tmp_path: Path) -> None:
    """The other's snapshot is refused, and its next look finds nothing to do; snapshots expire after an hour."""
    files, tables = opened(tmp_path)
    store(files, range(1))
    before = tables.read()
    looked(tmp_path, NOON)
    with pytest.raises(OSError, match="another process has changed"):
        tables.commit("events", before["events"], files.all("events"), NOON)
    snapshot = table(tmp_path).metadata.current_snapshot_id
    looked(tmp_path, NOON)
    assert table(tmp_path).metadata.current_snapshot_id == snapshot

    store(files, range(1, 2))
    metadata = tmp_path / "iceberg" / "events" / "metadata"
    left = metadata / "snap-left.avro"
    left.touch()
    os.utime(left, (0, 0))
    looked(tmp_path, time.time_ns() // 1_000_000 + 2 * HOUR_MS)
    assert (len(table(tmp_path).snapshots()), len(paths(tmp_path)), left.exists()) == (1, 2, False)


def test_a_table_has_the_columns_of_a_later_release_and_no_file_that_was_written_without_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Such a file is reported; one that lacks a new column has nulls there, and both are merged with new ones."""
    full = iceberg.DATASETS
    former = {name: pa.schema([each for each in schema if each.name != "hostname"]) for name, schema in full.items()}
    store(open_folder(str(tmp_path)), range(1))
    monkeypatch.setattr(iceberg, "DATASETS", former)
    store(opened(tmp_path)[0], range(1, 2))
    monkeypatch.setattr(iceberg, "DATASETS", full)
    notes: list[str] = []
    files, tables = opened(tmp_path, notes)
    store(files, range(2, 3))
    upkeep = Upkeep(files, ignore_note, max_days=0, max_bytes=0, tables=tables)
    upkeep.look(NOON)

    assert paths(tmp_path) == on_disk(tmp_path)[1:]
    found = table(tmp_path).scan(selected_fields=("hostname", "offset")).to_arrow().to_pylist()
    assert {(each["offset"], each["hostname"] is None) for each in found} == {(1, True), (2, False)}
    assert "stays out of the Iceberg table" in notes[0]
    for _ in range(3):
        upkeep.look(LATER)
    assert paths(tmp_path) == on_disk(tmp_path)
    assert len(paths(tmp_path)) == 1
    assert set(table(tmp_path).scan(selected_fields=("offset",)).to_arrow()["offset"].to_pylist()) == {0, 1, 2}
