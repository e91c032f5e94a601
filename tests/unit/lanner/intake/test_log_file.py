import json
import random
from pathlib import Path

import pytest

from processor.fields.json.parsing import LEFT_OUT, TOO_LARGE
from tests.unit.lanner.intake.logs import Log


@pytest.fixture
def log(tmp_path: Path) -> Log:
    """Return a log file that does not exist yet."""
    return Log(tmp_path)


def test_lines_are_read_once_they_are_complete(log: Log) -> None:
    """The file may be made later than the follower; empty lines are left out."""
    follower = log.follower()
    assert log.read(follower) == []
    log.write(2)
    with log.path.open("ab") as file:
        file.write(b"\n \nline 2")
    assert log.read(follower) == [0, 1]
    with log.path.open("ab") as file:
        file.write(b"0\nline 3\n")

    assert log.read(follower) == [20, 3]


def test_reading_continues_at_the_stored_place(log: Log) -> None:
    """What was returned and not stored is returned again."""
    log.write(3)
    first = log.follower()
    assert log.read(first) == [0, 1, 2]
    log.write(2)
    assert log.read(first, commits=False) == [3, 4]
    log.write()

    assert log.read(log.follower()) == [3, 4, 5]


@pytest.mark.parametrize("restarts", [False, True])
@pytest.mark.parametrize("way", ["rename", "copy_and_truncate"])
def test_nothing_is_lost_or_repeated_over_rotations(log: Log, way: str, *, restarts: bool) -> None:
    """Lines that were not read before the rotation are read from where they went."""
    follower = log.follower()
    log.write(3)
    read = log.read(follower)
    log.write(2)
    getattr(log, way)()
    log.write(2)
    read += log.read(log.follower() if restarts else follower)

    assert read == list(range(7))
    assert not log.notes


def test_lines_are_not_lost_if_the_file_is_rotated_before_the_first_are_stored(log: Log) -> None:
    """The first start stores the beginning of the file as its place."""
    log.write()
    log.read(log.follower(), commits=False)
    log.rename()
    log.write()

    assert log.read(log.follower()) == [0, 1]


def test_several_rotations_may_happen_between_two_reads(log: Log) -> None:
    """All files that were written since are read in order."""
    log.write(2)
    read = log.read(log.follower())
    for number in range(3):
        log.write(2)
        log.rename(f"audit-{number}.log")
    log.write()

    assert read + log.read(log.follower()) == list(range(9))


def test_a_renamed_file_is_read_while_it_is_written(log: Log) -> None:
    """Its writer opens the new file later; a line without an end is its last one."""
    log.write()
    follower = log.follower()
    writer = log.path.open("ab")
    assert log.read(follower) == [0]
    log.rename()
    assert follower.next() is None
    writer.write(b"line 1\nline 2")
    writer.close()
    lines = follower.next()
    assert lines is not None
    assert lines.lines == (b"line 1",)
    log.written = 3
    log.write()

    assert log.read(follower) == [2, 3]


def test_a_file_that_is_truncated_without_a_copy_is_read_anew(log: Log) -> None:
    """Whether lines were lost can't be known, so it is reported."""
    log.write(9)
    follower = log.follower()
    log.read(follower)
    log.path.write_bytes(b"line 100\nline 101\n")

    assert log.read(follower) == [100, 101]
    (note,) = log.notes
    assert "what was not read of it is lost" in note


def test_an_unreadable_place_is_reported_and_reading_starts_anew(log: Log) -> None:
    """Events that were read before make the same alerts again, which are dropped by their ids."""
    log.write(2)
    first = log.follower()
    log.read(first)
    first._places.path.write_text("{")

    assert log.read(log.follower()) == [0, 1]
    assert "is read from its beginning" in log.notes[0]


@pytest.mark.parametrize("end", [b"\n", b""])
def test_a_line_that_is_too_long_is_shortened(log: Log, end: bytes) -> None:
    """It is not held in memory; the lines behind it are read, also if it is the last one of a file."""
    log.write()
    with log.path.open("ab") as file:
        file.write(b'{"a": 1, "b": "%s", "c": 2}' % (b"x" * (9 << 20)) + end)
    follower, found = log.follower(), list[bytes]()
    for _ in range(9):
        if (lines := follower.next()) is not None:
            follower.commit(lines)
            found += lines.lines
        if len(found) == 1 and log.path.exists():
            log.rename()
            log.write()
        log.wait()

    assert (found[0], found[2]) == (b"line 0", b"line 1")
    assert json.loads(found[1]) == {"a": 1, "c": 2, LEFT_OUT: TOO_LARGE}
    assert log.follower().next() is None


@pytest.mark.parametrize("seed", range(20))
def test_any_sequence_of_writes_rotations_and_crashes(log: Log, seed: int) -> None:
    """Each line is read, in order; after a crash, those that were not committed are read again."""
    draw = random.Random(seed)
    log.write()
    follower = log.follower()
    read = log.read(follower)
    names = 0
    is_seen = True
    for _ in range(60):
        what = draw.choice(["write", "write", "read", "crash", "rename", "copy_and_truncate"])
        if what == "write":
            log.write(draw.randrange(1, 4))
        elif what in ("read", "crash"):
            found = log.read(follower, commits=what == "read")
            is_seen = log.path.exists() and log.path.stat().st_size > 0
            if what == "read":
                read += found
            else:
                follower.close()
                follower = log.follower()
        # A copy that was made and truncated before anything was read looks like an older one.
        elif log.path.exists() and log.path.stat().st_size and (is_seen or what == "rename"):
            names += 1
            is_seen = False
            getattr(log, what)(f"audit.log-{names:04}")
    log.write()
    read += log.read(follower)

    assert list(dict.fromkeys(read)) == list(range(log.written))
    assert not log.notes
