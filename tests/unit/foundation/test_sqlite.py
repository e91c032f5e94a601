import sqlite3
from pathlib import Path

import pytest

from foundation.sqlite import DatabaseUnusable, open_database, opening, transaction

TABLE = "CREATE TABLE IF NOT EXISTS numbers (number INTEGER PRIMARY KEY)"


def numbers(base: sqlite3.Connection) -> list[int]:
    """Return what is stored."""
    return [number for (number,) in base.execute("SELECT number FROM numbers ORDER BY number")]


def test_only_the_owner_can_read_the_files(tmp_path: Path) -> None:
    """SQLite's side files and the folder too, since alerts may hold secrets."""
    base = open_database(tmp_path / "state" / "x.db", TABLE)
    base.execute("INSERT INTO numbers VALUES (1)")
    files = list((tmp_path / "state").iterdir())
    assert len(files) > 1
    assert {file.stat().st_mode & 0o777 for file in files} == {0o600}
    assert (tmp_path / "state").stat().st_mode & 0o777 == 0o700


def test_what_is_committed_is_there_when_the_file_is_opened_again(tmp_path: Path) -> None:
    """The tables are created only once."""
    first = open_database(tmp_path / "x.db", TABLE)
    with transaction(first):
        first.execute("INSERT INTO numbers VALUES (1)")
    assert numbers(open_database(tmp_path / "x.db", TABLE)) == [1]


@pytest.mark.parametrize("error", [sqlite3.OperationalError("disk I/O error"), ValueError("bug"), KeyboardInterrupt()])
def test_a_failed_transaction_writes_nothing(error: BaseException) -> None:
    """Whatever fails, the next transaction can begin; errors of SQLite are those of the disk."""
    base = open_database(None, TABLE)

    def fail() -> None:
        with transaction(base):
            base.execute("INSERT INTO numbers VALUES (1)")
            raise error

    with pytest.raises(OSError if isinstance(error, sqlite3.Error) else type(error)):
        fail()
    with transaction(base):
        base.execute("INSERT INTO numbers VALUES (2)")
    assert numbers(base) == [2]


def test_a_file_that_can_not_be_opened_is_named(tmp_path: Path) -> None:
    """With the reason of the system or of SQLite."""
    (tmp_path / "text").write_text("no database, but longer than a header of one hundred bytes" * 3)
    with pytest.raises(DatabaseUnusable, match=r"text: file is not a database"), opening(tmp_path / "text"):
        open_database(tmp_path / "text", TABLE)
    with pytest.raises(DatabaseUnusable, match=r"x\.db: File exists"), opening(tmp_path / "text" / "x.db"):
        open_database(tmp_path / "text" / "x.db", TABLE)
