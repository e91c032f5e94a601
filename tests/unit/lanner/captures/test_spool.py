"""The recording that a capture is written from."""

import stat
from dataclasses import replace
from pathlib import Path

import pytest

from lanner.captures.writer import CaptureSpool
from lanner.recorder.store import from_files
from schemas.encoding.batch import encode_batch
from tests.unit.recordings import shadow_read


def test_a_capture_holds_the_events_of_one_host_and_leaves_no_recording(tmp_path: Path) -> None:
    """Without a host, that of the first batch; only its owner may read the file."""
    file = tmp_path / "out.scap"
    spool = CaptureSpool(file)
    for batch in (shadow_read(), replace(shadow_read(), host_id="2", hostname="db-1")):
        spool.writer.write(encode_batch(batch))

    assert spool.finish().events == 1
    assert [stored.batch.hostname for stored in from_files((file,))] == ["web-3"]
    assert [path.name for path in tmp_path.iterdir()] == ["out.scap"]
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_the_recording_remains_if_the_capture_can_not_be_written(tmp_path: Path) -> None:
    """It can be replayed."""
    file = tmp_path / "out.scap"
    spool = CaptureSpool(file)
    spool.writer.write(encode_batch(shadow_read()))
    file.unlink()
    file.mkdir()

    with pytest.raises(OSError, match=r"out\.scap"):
        spool.finish()
    assert [stored.batch.count for stored in from_files((spool.path,))] == [1]


def test_a_missing_folder_shows_at_once(tmp_path: Path) -> None:
    """Before anything is recorded."""
    with pytest.raises(OSError, match="missing"):
        CaptureSpool(tmp_path / "missing" / "out.scap")
