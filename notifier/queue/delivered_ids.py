"""Ids of delivered alerts on disk, so that duplicates are dropped even after a restart."""

import os
import sqlite3
from collections.abc import Sequence
from pathlib import Path

from notifier.queue.outbox import MODE, OutboxUnusable

REMEMBERED = 500_000
"""About 40 MB on disk: hours of a busy fleet, while a consumer group goes back by seconds at most."""
_PRUNE_EVERY = 5000


class DeliveredIds:
    """The newest ids. A recorded id survives a kill -9 of the process."""

    def __init__(self, path: Path, *, remembered: int = REMEMBERED) -> None:
        """Open the file; create it if missing. Raises OutboxUnusable."""
        self._remembered = remembered
        self._since_pruned = 0
        try:
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, MODE))
            self._base = sqlite3.connect(path, isolation_level=None, timeout=5, check_same_thread=False)
            self._base.execute("PRAGMA journal_mode=WAL")
            self._base.execute("PRAGMA synchronous=NORMAL")
            self._base.execute(
                "CREATE TABLE IF NOT EXISTS seen (number INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT UNIQUE)"
            )
        except OSError as error:
            raise OutboxUnusable(f"{path}: {error.strerror}") from None
        except sqlite3.Error as error:
            raise OutboxUnusable(f"{path}: {error}") from None

    def __contains__(self, alert_id: str) -> bool:
        """Return whether an id was recorded recently. Raises OSError."""
        try:
            return self._base.execute("SELECT 1 FROM seen WHERE id = ?", (alert_id,)).fetchone() is not None
        except sqlite3.Error as error:
            raise OSError(str(error)) from None

    def record(self, ids: Sequence[str]) -> None:
        """Record ids, all or none. Raises OSError."""
        try:
            self._base.execute("BEGIN IMMEDIATE")
            self._base.executemany("INSERT OR IGNORE INTO seen (id) VALUES (?)", [(each,) for each in ids])
            self._since_pruned += len(ids)
            if self._since_pruned >= _PRUNE_EVERY:
                self._since_pruned = 0
                self._base.execute(
                    "DELETE FROM seen WHERE number <= (SELECT max(number) FROM seen) - ?", (self._remembered,)
                )
            self._base.execute("COMMIT")
        except sqlite3.Error as error:
            if self._base.in_transaction:
                self._base.execute("ROLLBACK")
            raise OSError(str(error)) from None

    def close(self) -> None:
        """Close the file."""
        self._base.close()
