"""The tables of the view, and opening its file. A file of another version is deleted: the topic fills a new one."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from foundation.sqlite import as_os_errors, open_database, opening

VERSION = 3
"""Changes with the tables, with grouping and with what is searched."""
CELL_US = 600_000_000
"""Length of a cell of the counts, µs: ten minutes."""
SPAN_CELLS = 36
"""Cells of a span, which is six hours."""
SPAN_US = SPAN_CELLS * CELL_US
_MAPPED = 8 << 30
"""Bytes of the file that readers map, so that they share the page cache of the system."""
_TABLES = """
CREATE TABLE IF NOT EXISTS texts (id INTEGER PRIMARY KEY, value TEXT NOT NULL UNIQUE);
CREATE TABLE IF NOT EXISTS groups (
    id INTEGER PRIMARY KEY,
    key TEXT NOT NULL UNIQUE,
    rule TEXT NOT NULL,
    workload TEXT NOT NULL,
    text TEXT NOT NULL,
    priority INTEGER NOT NULL,
    tags TEXT NOT NULL,
    count INTEGER NOT NULL,
    first INTEGER NOT NULL,
    last INTEGER NOT NULL,
    sample TEXT NOT NULL,
    action TEXT NOT NULL,
    place TEXT NOT NULL,
    description TEXT NOT NULL,
    response TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS groups_of_rule ON groups (rule, workload);
CREATE INDEX IF NOT EXISTS groups_by_last ON groups (last);
CREATE TABLE IF NOT EXISTS tags (tag TEXT, grp INTEGER, PRIMARY KEY (tag, grp)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS cells (
    cell INTEGER, grp INTEGER, count INTEGER NOT NULL, PRIMARY KEY (cell, grp)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS spans (
    grp INTEGER, span INTEGER, count INTEGER NOT NULL, PRIMARY KEY (grp, span)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS totals (
    cell INTEGER, priority INTEGER, count INTEGER NOT NULL, PRIMARY KEY (cell, priority)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS group_hosts (
    grp INTEGER, host INTEGER, last INTEGER NOT NULL, PRIMARY KEY (grp, host)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS alerts (
    id INTEGER PRIMARY KEY,
    grp INTEGER NOT NULL,
    host INTEGER NOT NULL,
    user INTEGER NOT NULL,
    namespace INTEGER NOT NULL,
    image INTEGER NOT NULL
);
CREATE INDEX IF NOT EXISTS alerts_of_group ON alerts (grp, id);
CREATE INDEX IF NOT EXISTS alerts_of_host ON alerts (host, id);
CREATE TABLE IF NOT EXISTS bodies (
    id INTEGER PRIMARY KEY, uid TEXT NOT NULL UNIQUE, text TEXT NOT NULL, data BLOB NOT NULL
);
CREATE VIRTUAL TABLE IF NOT EXISTS search USING fts5 (text, content = 'bodies', content_rowid = 'id');
CREATE TABLE IF NOT EXISTS positions (partition INTEGER PRIMARY KEY, offset INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS marks (
    subject TEXT, field TEXT, value TEXT NOT NULL, author TEXT NOT NULL, at INTEGER NOT NULL,
    PRIMARY KEY (subject, field)
) WITHOUT ROWID;
"""


def open_view(path: Path | None) -> sqlite3.Connection:
    """Open a view, in memory without a path; begin an empty one if another release wrote it, or if it is damaged.

    Raises DatabaseUnusable if the file can't be created.
    """
    if path is None:
        return _with_tables(None)
    with opening(path):
        try:
            return _with_tables(path)
        except sqlite3.DatabaseError as error:
            if isinstance(error, sqlite3.OperationalError):
                raise
            delete_view(path)
            return _with_tables(path)


def delete_view(path: Path) -> None:
    """Delete the file of a view and its side files."""
    for ending in ("", "-wal", "-shm"):
        path.with_name(path.name + ending).unlink(missing_ok=True)


@contextmanager
def reading(path: Path) -> Iterator[sqlite3.Connection]:
    """Open a view for reading only. Raises OSError if SQLite fails."""
    with as_os_errors(), closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=5)) as base:
        base.executescript(f"PRAGMA mmap_size = {_MAPPED}; PRAGMA temp_store = MEMORY")
        yield base


def _with_tables(path: Path | None) -> sqlite3.Connection:
    base = open_database(path, "")
    version = base.execute("PRAGMA user_version").fetchone()[0]
    if version not in (0, VERSION) and path is not None:
        base.close()
        delete_view(path)
        base = open_database(path, "")
    base.executescript(_TABLES)
    base.execute(f"PRAGMA user_version = {VERSION}")
    base.execute("PRAGMA cache_size = -65536")
    return base
