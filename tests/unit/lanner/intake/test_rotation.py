import os
from pathlib import Path

import pytest

from lanner.intake.log_file import is_rotated, locate, open_file, place_of, successor


def _write(path: Path, text: str, changed: int) -> Path:
    path.write_text(text)
    os.utime(path, ns=(changed, changed))
    return path


def test_files_are_read_in_the_order_in_which_they_were_written(tmp_path: Path) -> None:
    """Whatever the program that rotates calls them; compressed files and those of other logs are left out."""
    log = _write(tmp_path / "audit.log", "d", 40)
    for name, changed in (("audit.log.2", 20), ("audit-2026-11-25T10-00-00.000.log", 30), ("audit.log.1.gz", 35)):
        _write(tmp_path / name, name, changed)
    _write(tmp_path / "auth.log", "x", 35)
    oldest = open_file(_write(tmp_path / "audit.log.3", "a", 10))
    assert oldest is not None
    order = []
    read = oldest
    while is_rotated(log, read):
        following = successor(log, read)
        assert following is not None
        read = following
        order.append(os.pread(read.descriptor, 100, 0).decode())

    assert order == ["audit.log.2", "audit-2026-11-25T10-00-00.000.log", "d"]


def test_the_log_file_is_preferred_to_a_copy(tmp_path: Path) -> None:
    """A copy has the same beginning until the log file is truncated."""
    log = _write(tmp_path / "audit.log", "first\n", 1)
    copy = _write(tmp_path / "audit.log.1", "first\n", 2)
    opened = open_file(log)
    assert opened is not None
    place = place_of(opened.descriptor, 6)
    found = locate(log, place)
    assert found is not None
    assert found.inode == log.stat().st_ino
    log.write_text("")
    found = locate(log, place)
    assert found is not None
    assert found.inode == copy.stat().st_ino
    copy.unlink()
    assert locate(log, place) is None


def test_only_regular_files_are_read(tmp_path: Path) -> None:
    """A pipe would block, and has no place."""
    assert open_file(tmp_path / "missing") is None
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OSError, match="not a regular file"):
        open_file(tmp_path / "pipe")
    with pytest.raises(OSError, match=r"directory|regular"):
        open_file(tmp_path)
