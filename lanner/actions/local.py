"""Records of actions of one host, in a file that `lanner run` and commands of root share."""

import time
from pathlib import Path

from foundation.sqlite import as_os_errors, open_database, opening, transaction
from lanner.actions.book import ActionBook, ActionRecord
from lanner.errors import BadInput
from schemas.action import (
    ActionDecision,
    ActionIntent,
    ActionResult,
    BadActionRecord,
    decode_action_record,
    encode_action_record,
)

FILE_NAME = "actions.sqlite"
_SCHEMA = """
CREATE TABLE IF NOT EXISTS records (number INTEGER PRIMARY KEY AUTOINCREMENT, kind TEXT, value BLOB, stored INTEGER);
"""
_KINDS = {"intent": ActionIntent, "decision": ActionDecision, "result": ActionResult}
_RETAINED = 30 * 86_400_000_000_000


class LocalActionRecords:
    """The file; only root may write it, so its records need no signatures."""

    def __init__(self, folder: Path, *, creates: bool = False) -> None:
        """Open the file. creates: whether it is created if missing. Raises BadInput, or DatabaseUnusable."""
        path = folder / FILE_NAME
        if not creates and not path.exists():
            raise BadInput(f"{folder}: there are no records of actions: run `lanner run` with action policies.")
        with opening(path):
            self._base = open_database(path, _SCHEMA)
            # A stop of all actions holds until somebody resumes them.
            self._base.execute(
                "DELETE FROM records WHERE stored < ? AND kind != 'decision'", (time.time_ns() - _RETAINED,)
            )
        self._read = 0
        self.unreadable = 0
        """Records of another release, or that somebody damaged."""

    def update(self, book: ActionBook) -> list[ActionRecord]:
        """Pass the records that were stored since the last call to a book, and return them. Raises OSError."""
        found: list[ActionRecord] = []
        with as_os_errors():
            rows = self._base.execute(
                "SELECT number, kind, value, stored FROM records WHERE number > ? ORDER BY number", (self._read,)
            ).fetchall()
        for number, kind, value, stored in rows:
            self._read = number
            try:
                record: ActionRecord = decode_action_record(value, _KINDS[kind])
            except (BadActionRecord, KeyError):
                self.unreadable += 1
                continue
            book.take(record, stored)
            found.append(record)
        return found

    def write(self, record: ActionRecord) -> None:
        """Store a record. Raises BadActionRecord, or OSError."""
        kind = next(name for name, each in _KINDS.items() if isinstance(record, each))
        with transaction(self._base):
            self._base.execute(
                "INSERT INTO records (kind, value, stored) VALUES (?, ?, ?)",
                (kind, encode_action_record(record), time.time_ns()),
            )

    def close(self) -> None:
        """Close the file."""
        self._base.close()
