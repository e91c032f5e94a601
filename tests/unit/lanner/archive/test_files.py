"""Files of other releases, and damaged ones."""

import shutil
from pathlib import Path

import pyarrow as pa
import pytest

from lanner.archive.files import ArchiveFiles, conformed, open_folder, read_rows
from lanner.archive.schema import DATASETS, EVENTS
from lanner.archive.store import ArchiveStore
from lanner.recorder.store import EventRange
from processor.fields.extract import extract
from schemas.encoding.batch import BadBatch

GOLDEN = Path(__file__).parents[3] / "golden" / "archive.1"
"""An archive that the first release with archives wrote: it must stay readable."""


def golden(folder: Path) -> ArchiveFiles:
    """Return a copy of that archive."""
    shutil.copytree(GOLDEN, folder, dirs_exist_ok=True)
    return open_folder(str(folder))


def test_an_archive_of_the_first_release_is_read(tmp_path: Path) -> None:
    """Its rows have the present columns, and its events the values that they had."""
    files = golden(tmp_path)
    for dataset, schema in DATASETS.items():
        (file,) = files.select(dataset)
        assert read_rows(files, file, dataset).schema.equals(schema)
    (stored,) = ArchiveStore(files, print).batches(EventRange(0), lambda: False)
    (alert,) = ArchiveStore(files, print).alerts(EventRange(0), lambda: False)

    names = ("evt.type", "proc.cmdline", "proc.pname", "container.name", "fd.name", "evt.arg[0]")
    assert [extract(stored.batch, 1, name) for name in names] == [
        *("openat", "cat /etc/shadow", "bash", "gate", "/etc/shadow"),
        None,
    ]
    assert alert.rule == "Key was read"


def test_columns_that_a_file_lacks_are_null_and_unknown_ones_are_left_out() -> None:
    """Also within the rows of ancestors: releases add columns."""
    kind = EVENTS.field("ancestors").type.value_type
    fewer = pa.struct([each for each in kind if each.name != "cwd"])
    line = pa.array([[{"row": 1, "name": "sh"}]], pa.list_(fewer))
    rows = pa.table({"type": ["open"], "offset": pa.array([1], pa.int64()), "ancestors": line, "later": [1]})
    found = conformed(rows, EVENTS)

    assert found.schema.equals(EVENTS)
    assert found.to_pylist()[0]["ancestors"][0]["name"] == "sh"
    assert found.to_pylist()[0]["ancestors"][0]["cwd"] is None
    assert found.to_pylist()[0]["host_id"] is None


def test_a_damaged_file_is_noted_and_the_others_are_read(tmp_path: Path) -> None:
    """Such as one of which a disk lost the end."""
    files = golden(tmp_path)
    (file,) = files.select("events")
    Path(file.path).write_bytes(Path(file.path).read_bytes()[:-100])
    notes: list[str] = []
    (stored,) = ArchiveStore(files, lambda text, _="": notes.append(text)).batches(EventRange(0), lambda: False)

    assert stored.batch.count == 0
    assert len(notes) == 1
    assert file.path in notes[0]
    with pytest.raises(BadBatch):
        read_rows(files, file, "events")
