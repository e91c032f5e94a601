import os
from pathlib import Path

import pytest

from collector.procfs.foreign_files import cached_stat


def test_a_local_file_s_attributes_are_those_of_stat(tmp_path: Path) -> None:
    """By path and by descriptor, with times to the nanosecond."""
    file = tmp_path / "file"
    file.write_text("twelve bytes")
    os.chown(file, 12, 34) if os.geteuid() == 0 else None
    os.utime(file, ns=(1, 1_700_000_000_123_456_789))
    expected = file.stat()

    found = cached_stat(str(file))

    assert found.is_regular
    assert (found.device, found.inode, found.mode) == (expected.st_dev, expected.st_ino, expected.st_mode)
    assert (found.uid, found.gid, found.size) == (expected.st_uid, expected.st_gid, 12)
    assert (found.ctime, found.mtime) == (expected.st_ctime_ns, 1_700_000_000_123_456_789)
    with file.open("rb") as opened:
        assert cached_stat(opened.fileno()) == found


def test_a_program_s_file_is_found_by_its_link() -> None:
    """As for stat, /proc/PID/exe leads to the file."""
    assert cached_stat("/proc/self/exe").inode == Path("/proc/self/exe").stat().st_ino


def test_a_missing_file_is_an_error(tmp_path: Path) -> None:
    """The error is that of stat."""
    with pytest.raises(FileNotFoundError):
        cached_stat(str(tmp_path / "none"))


def test_a_directory_is_no_regular_file(tmp_path: Path) -> None:
    """Its mode shows that."""
    assert not cached_stat(str(tmp_path)).is_regular
