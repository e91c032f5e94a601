"""The SQLite files of the notifier. A commit survives a kill -9 of the process.

`sqlite3` takes 1.4 MiB, so it is imported when a file is used: most hosts have none.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from foundation.errors import LannerError
from foundation.files import PRIVATE

if TYPE_CHECKING:
    import sqlite3


class DatabaseUnusable(LannerError):
    """The file can't be opened, or is not a database."""


def open_database(path: Path | None, schema: str) -> "sqlite3.Connection":
    """Open a file in WAL mode, for any thread, without implicit transactions; None is a database in memory.

    The schema consists of statements that create missing tables.

    Raises:
        OSError: the file can't be created.
        sqlite3.Error: the file can't be opened.
    """
    import sqlite3  # noqa: PLC0415

    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        # Created before SQLite does so with the umask's mode; its side files inherit this mode.
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, PRIVATE))
    base = sqlite3.connect(path or ":memory:", isolation_level=None, timeout=5, check_same_thread=False)
    base.execute("PRAGMA journal_mode=WAL")
    base.execute("PRAGMA synchronous=NORMAL")
    base.executescript(schema)
    return base


@contextmanager
def opening(path: Path) -> Iterator[None]:
    """Raise DatabaseUnusable if the file can't be opened."""
    import sqlite3  # noqa: PLC0415

    try:
        yield
    except OSError as error:
        raise DatabaseUnusable(f"{path}: {error.strerror}") from None
    except sqlite3.Error as error:
        raise DatabaseUnusable(f"{path}: {error}") from None


@contextmanager
def as_os_errors() -> Iterator[None]:
    """Raise OSError if SQLite fails."""
    import sqlite3  # noqa: PLC0415

    try:
        yield
    except sqlite3.Error as error:
        raise OSError(str(error)) from None


@contextmanager
def transaction(base: "sqlite3.Connection") -> Iterator[None]:
    """Write all or nothing. Raises OSError if SQLite can't write."""
    with as_os_errors():
        base.execute("BEGIN IMMEDIATE")
        try:
            yield
            base.execute("COMMIT")
        except BaseException:
            if base.in_transaction:
                base.execute("ROLLBACK")
            raise
