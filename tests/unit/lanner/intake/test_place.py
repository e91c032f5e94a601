import os
from pathlib import Path

import pytest

from lanner.intake.log_file import FilePlace, PlaceFile, place_of


def _open(path: Path) -> int:
    return os.open(path, os.O_RDONLY)


def test_a_place_is_stored_completely_and_only_for_the_owner(tmp_path: Path) -> None:
    """Each log file has a file of its own; the folder is created."""
    log = tmp_path / "audit.log"
    log.write_bytes(b"x" * 5000)
    place = place_of(_open(log), 4000)
    first, other = (PlaceFile(tmp_path / "state", each) for each in (log, tmp_path / "other.log"))
    assert first.load() is None
    first.store(place)

    assert (first.load(), other.load()) == (place, None)
    assert first.path.stat().st_mode & 0o777 == 0o600
    assert [each.name for each in first.path.parent.iterdir()] == [first.path.name]


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"place": {}}', '{"place": 1}', '{"place": {"inode": "x"}}'])
def test_a_file_with_another_content_is_an_error(tmp_path: Path, text: str) -> None:
    """The caller starts at the beginning, and reports it."""
    places = PlaceFile(tmp_path, tmp_path / "audit.log")
    places.path.write_text(text)
    with pytest.raises(ValueError, match=r"[a-z]"):
        places.load()


def test_numbers_out_of_range_are_an_error(tmp_path: Path) -> None:
    """A negative offset would fail at each read."""
    places = PlaceFile(tmp_path, tmp_path / "audit.log")
    places.store(FilePlace(1, -1, 0, ""))
    with pytest.raises(ValueError, match="out of range"):
        places.load()


def test_a_place_is_of_its_file_and_of_copies_of_it(tmp_path: Path) -> None:
    """Not of another file with the same inode, nor of one that is too short."""
    log, copy, other = (tmp_path / name for name in ("audit.log", "copy", "other"))
    log.write_bytes(b"first\nsecond\n")
    place = place_of(_open(log), 6)
    copy.write_bytes(log.read_bytes() + b"third\n")
    other.write_bytes(b"other\nsecond\n")
    assert [place.is_of(_open(each)) for each in (log, copy, other)] == [True, True, False]
    log.write_bytes(b"fi")
    assert not place.is_of(_open(log))
    log.write_bytes(b"other lines\n")
    assert not place.is_of(_open(log))


def test_an_empty_file_is_found_by_its_inode(tmp_path: Path) -> None:
    """It has no bytes that identify it."""
    log, other = tmp_path / "audit.log", tmp_path / "other"
    log.touch()
    other.touch()
    place = place_of(_open(log), 0)

    assert [place.is_of(_open(each)) for each in (log, other)] == [True, False]
