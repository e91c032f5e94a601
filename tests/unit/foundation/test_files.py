"""Files are replaced completely or not at all, and never through a link; changes to watched ones show."""

import os
from pathlib import Path

import pytest

from foundation.files import FileWatch, open_private, write_atomically


def _names(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()]


def test_a_private_file_is_replaced_in_a_folder_that_is_made(tmp_path: Path) -> None:
    """The owner alone may read file and folder, and nothing else is left in it."""
    path = tmp_path / "state" / "file"
    write_atomically(path, [b"old"])
    write_atomically(path, (part for part in (b"new ", b"content")), is_synced=True)
    assert path.read_bytes() == b"new content"
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
    assert _names(path.parent) == ["file"]


def test_a_file_of_a_write_that_fails_stays_as_it_was(tmp_path: Path) -> None:
    """Content that can't be made leaves the old content, and no file beside it."""
    path = tmp_path / "file"
    write_atomically(path, [b"old"])
    with pytest.raises(ZeroDivisionError):
        write_atomically(path, (bytes([1 // part]) for part in (1, 0)))
    assert path.read_bytes() == b"old"
    assert _names(tmp_path) == ["file"]


def test_a_file_that_must_be_new_is_not_replaced(tmp_path: Path) -> None:
    """The second of two processes that create a file learns that it exists."""
    path = tmp_path / "key"
    write_atomically(path, [b"first"], replaces=False, is_shared=True)
    with pytest.raises(FileExistsError):
        write_atomically(path, [b"second"], replaces=False, is_shared=True)
    assert path.read_bytes() == b"first"
    assert _names(tmp_path) == ["key"]


def test_links_are_replaced_when_written_and_refused_when_opened(tmp_path: Path) -> None:
    """Neither a link in place of the file nor one in place of the file beside it leads elsewhere."""
    other, path = tmp_path / "other", tmp_path / "file"
    other.write_bytes(b"precious")
    for link in (path, tmp_path / ".file.new"):
        link.symlink_to(other)
    with pytest.raises(OSError, match="symbolic"):
        open_private(path, os.O_WRONLY | os.O_TRUNC)
    write_atomically(path, [b"state"])
    assert other.read_bytes() == b"precious"
    assert path.read_bytes() == b"state"
    assert not path.is_symlink()


def test_a_written_a_replaced_and_a_removed_file_each_show_once(tmp_path: Path) -> None:
    """Editors write, rename or remove; each change is reported once."""
    path, other = tmp_path / "a.yaml", tmp_path / "b.yaml"
    path.write_text("a")
    watch = FileWatch([path])
    assert not watch.changed()

    path.write_text("ab")
    assert watch.changed()
    assert not watch.changed()

    other.write_text("ab")
    other.rename(path)
    assert watch.changed()

    path.unlink()
    assert watch.changed()
    assert not watch.changed()


def test_a_symlink_that_points_elsewhere_shows(tmp_path: Path) -> None:
    """Kubernetes changes a mounted ConfigMap by a symlink above the file."""
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a.yaml").write_text("same")
    link = tmp_path / "data"
    link.symlink_to("one")
    watch = FileWatch([link / "a.yaml"])

    fresh = tmp_path / "fresh"
    fresh.symlink_to("two")
    os.replace(fresh, link)  # noqa: PTH105  # a rename over a symlink, not to where it points

    assert watch.changed()
