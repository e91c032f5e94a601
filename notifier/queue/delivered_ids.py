"""Ids of delivered alerts on disk, so that duplicates are dropped even after a restart."""

from collections.abc import Sequence
from pathlib import Path

from notifier.queue.database import as_os_errors, open_database, opening, transaction

REMEMBERED = 500_000
"""About 40 MB on disk: hours of a busy fleet, while a consumer group goes back by seconds at most."""
_PRUNE_EVERY = 5000
_TABLE = "CREATE TABLE IF NOT EXISTS seen (number INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT UNIQUE)"


class DeliveredIds:
    """The newest ids."""

    def __init__(self, path: Path, *, remembered: int = REMEMBERED) -> None:
        """Open the file; create it if missing. Raises DatabaseUnusable."""
        self._remembered = remembered
        self._since_pruned = 0
        with opening(path):
            self._base = open_database(path, _TABLE)

    def __contains__(self, alert_id: str) -> bool:
        """Return whether an id was recorded recently. Raises OSError."""
        with as_os_errors():
            return self._base.execute("SELECT 1 FROM seen WHERE id = ?", (alert_id,)).fetchone() is not None

    def record(self, ids: Sequence[str]) -> None:
        """Record ids, all or none. Raises OSError."""
        with transaction(self._base):
            self._base.executemany("INSERT OR IGNORE INTO seen (id) VALUES (?)", [(each,) for each in ids])
            self._since_pruned += len(ids)
            if self._since_pruned >= _PRUNE_EVERY:
                self._since_pruned = 0
                self._base.execute(
                    "DELETE FROM seen WHERE number <= (SELECT max(number) FROM seen) - ?", (self._remembered,)
                )

    def close(self) -> None:
        """Close the file."""
        self._base.close()
