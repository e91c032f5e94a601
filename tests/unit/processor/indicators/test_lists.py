import gzip
import os
from pathlib import Path

import pytest

from processor.indicators import lists
from processor.indicators.lists import IndicatorList, IndicatorSpec, PackedFile, unpacked

SPEC = IndicatorSpec("bad", "bad.csv", "address", "csv")
PACKED = gzip.compress(b"value\n")


def written(path: Path, text: str, time: int = 1_000) -> Path:
    """Write a file, dated s since the epoch."""
    path.write_text(text)
    os.utime(path, (time, time))
    return path


def test_an_entry_that_expired_is_not_found(tmp_path: Path) -> None:
    """Neither one with a time, nor those of a file that is too old."""
    now = [1_893_456_000 - 1.0]
    text = "value,expires\n198.51.100.0/24,2030-01-01\n198.51.0.0/16,\n"
    made = IndicatorList(SPEC, written(tmp_path / "x", text), clock=lambda: now[0])
    assert getattr(made.find("198.51.100.7"), "text", "") == "198.51.100.0/24"
    now[0] += 1
    assert getattr(made.find("198.51.100.7"), "text", "") == "198.51.0.0/16"
    aging = IndicatorSpec("bad", "bad.csv", "address", "csv", expires_after=60)
    for file in (tmp_path / "x", PackedFile(gzip.compress(text.encode()), 1_000)):
        old = IndicatorList(aging, file, clock=lambda: now[0])
        now[0] = 1_059
        assert old.holds("198.51.100.7")
        now[0] = 1_060
        assert not old.holds("198.51.100.7")


def test_an_entry_is_not_found_before_it_starts_to_count(tmp_path: Path) -> None:
    """In STIX, valid_from states that; a wider entry that counts already is found."""
    now = [1_893_456_000 - 1.0]
    shape = '{"type": "indicator", "pattern": "[domain-name:value = \'%s\']"%s}'
    objects = shape % ("example", "") + "," + shape % ("a.example", ', "valid_from": "2030-01-01T00:00:00Z"')
    file = written(tmp_path / "x", f'{{"objects": [{objects}]}}')
    made = IndicatorList(IndicatorSpec("bad", "x", "name", "stix"), file, clock=lambda: now[0])
    assert [getattr(made.find(each), "text", "") for each in ("b.a.example", "b.example")] == ["example"] * 2
    now[0] += 1
    assert [getattr(made.find(each), "text", "") for each in ("b.a.example", "b.example")] == ["a.example", "example"]


def test_a_changed_file_is_read_again(tmp_path: Path) -> None:
    """If it disappears, what it held stays; equal lists share what they hold."""
    file = written(tmp_path / "x", "value\n198.51.100.7\n")
    made, other = IndicatorList(SPEC, file), IndicatorList(SPEC, file)
    assert made.load() is other.load()
    assert not made.has_changed()
    written(file, "value\n203.0.113.9\nx\n", 1_001)
    assert made.has_changed()
    made.load()
    assert (made.holds("203.0.113.9"), made.holds("198.51.100.7"), other.holds("198.51.100.7")) == (True, False, True)
    assert made.text == f"1 entry of kind address from {file}; 1 can't be used"
    file.unlink()
    with pytest.raises(FileNotFoundError):
        made.load()
    assert made.holds("203.0.113.9")


def test_a_file_that_would_keep_the_reader_waiting_is_refused(tmp_path: Path) -> None:
    """Pipes and folders; used all the same, the list is empty."""
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", tmp_path):
        made = IndicatorList(SPEC, path)
        with pytest.raises(OSError, match="not a regular file"):
            made.load()
        assert not made.holds("198.51.100.7")


@pytest.mark.parametrize("content", [b"x", PACKED[:-4], PACKED[:14] + b"xxxxx"], ids=["plain", "cut", "damaged"])
def test_damaged_content_is_refused(content: bytes) -> None:
    """It came from the bus."""
    with pytest.raises(OSError, match="damaged"):
        IndicatorList(SPEC, PackedFile(content, 0)).load()
    with pytest.raises(OSError, match="damaged"):
        unpacked(content)


def test_a_list_is_bounded_in_entries(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The first are used, and what can't be used counts; the first of these are named, and all are counted."""
    monkeypatch.setattr(lists, "MAX_ENTRIES", 32)
    text = "value\n" + "x\n" * 30 + "".join(f"198.51.100.{number}\n" for number in range(9))
    contents = IndicatorList(SPEC, written(tmp_path / "x", text)).load()
    assert (len(contents.table), len(contents.rejected), contents.rejected_count) == (2, 20, 31)
    assert contents.rejected[0].line == 2
