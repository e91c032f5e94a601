"""What this host knows about each action, in a file that survives a kill -9: so that it is done once, and undone.

An action is recorded before it is begun, and again when it is done. If it began and has no end, nobody
knows whether it was done; it is never begun again.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from foundation.sqlite import as_os_errors, open_database, opening, transaction
from schemas.action import (
    ActionDecision,
    ActionIntent,
    ActionResult,
    BadActionRecord,
    decode_action_record,
    encode_action_record,
)

if TYPE_CHECKING:
    from sqlite3 import Connection

FILE_NAME = "journal.sqlite"
MAX_ACTIONS = 50_000
MAX_DECISIONS = 50_000
MAX_RESULTS = 20_000
RETENTION = 30 * 86_400_000_000_000
"""How long an action is remembered, ns; a record that was stored before that is ignored."""
_SCHEMA = """
CREATE TABLE IF NOT EXISTS actions (
    id TEXT PRIMARY KEY, value BLOB, stored INTEGER, status TEXT, facts TEXT, boot TEXT, ends INTEGER, ends_wall INTEGER
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS active ON actions (status) WHERE status IN ('begun', 'active', 'waiting');
CREATE TABLE IF NOT EXISTS decisions (
    id TEXT PRIMARY KEY, subject TEXT, value BLOB, stored INTEGER
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS subjects ON decisions (subject);
CREATE TABLE IF NOT EXISTS results (number INTEGER PRIMARY KEY AUTOINCREMENT, value BLOB);
CREATE TABLE IF NOT EXISTS switch (one INTEGER PRIMARY KEY CHECK (one = 1), value BLOB, stored INTEGER);
"""

JournalStatus = Literal["waiting", "begun", "active", "over"]
"""`waiting`: received, not begun; `begun`: it is being done, or the process ended while it was; `active`: done, and can
be undone; `over`: nothing is left to do."""
Facts = Mapping[str, "int | str | list[str] | None"]


@dataclass(frozen=True, slots=True)
class JournaledAction:
    """One action."""

    intent: ActionIntent
    stored: int
    """When the intent was stored, by the broker's clock."""
    status: JournalStatus = "waiting"
    facts: Facts | None = None
    """What undoes it; None if it is unknown, since the process ended while it acted."""
    boot: str = ""
    """The boot in which it was done."""
    ends: int = 0
    """When it ends by itself, boot clock of that boot, ns; 0 if it doesn't."""
    ends_wall: int = 0
    """The same by the wall clock, ns since the epoch."""


class Journal:
    """The file."""

    def __init__(self, folder: Path | None) -> None:
        """Open the file, which is created if missing; None is one in memory. Raises DatabaseUnusable."""
        path = None if folder is None else folder / FILE_NAME
        with opening(path or Path(FILE_NAME)):
            self._base: Connection = open_database(path, _SCHEMA)
        self.lost_results = 0
        """Results that nobody took, and for which there was no room."""

    def find(self, id_: str) -> JournaledAction | None:
        """Return an action by the id of its intent."""
        return next(iter(self._select("WHERE id = ?", id_)), None)

    def with_status(self, *statuses: JournalStatus) -> Sequence[JournaledAction]:
        """Return the actions that have one of these states."""
        return self._select(f"WHERE status IN ({', '.join('?' * len(statuses))})", *statuses)

    def has_room(self, before: int) -> bool:
        """Return whether another action can be recorded. Raises OSError.

        before: if there is no room, actions that aren't active are forgotten whose intents were stored before this
        time, by the broker's clock; a later one could be begun again if it was repeated.
        """
        with as_os_errors():
            if self._base.execute("SELECT count(*) FROM actions").fetchone()[0] < MAX_ACTIONS:
                return True
            found = self._base.execute(
                "DELETE FROM actions WHERE status IN ('over', 'waiting') AND stored < ?", (before,)
            )
            return found.rowcount > 0

    def put(self, action: JournaledAction, *results: ActionResult) -> None:
        """Record an action's state, and results about it, all or nothing. Raises OSError."""
        facts = None if action.facts is None else json.dumps(action.facts)
        row = (action.intent.id, encode_action_record(action.intent), action.stored, action.status, facts)
        with transaction(self._base):
            self._base.execute(
                "INSERT OR REPLACE INTO actions VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                (*row, action.boot, action.ends, action.ends_wall),
            )
            self._add(results)

    def report(self, *results: ActionResult) -> None:
        """Record results. Raises OSError."""
        with transaction(self._base):
            self._add(results)

    def take_decision(self, decision: ActionDecision, stored: int) -> bool:
        """Record a decision; return False if it is known already. Raises OSError."""
        with transaction(self._base):
            return (
                self._base.execute(
                    "INSERT OR IGNORE INTO decisions VALUES (?, ?, ?, ?)",
                    (decision.id, decision.subject, encode_action_record(decision), stored),
                ).rowcount
                > 0
            )

    def decisions(self, subject: str) -> Sequence[tuple[ActionDecision, int]]:
        """Return the decisions about an intent in the order in which they were stored, with these times."""
        with as_os_errors():
            rows = self._base.execute(
                "SELECT value, stored FROM decisions WHERE subject = ? ORDER BY stored LIMIT 100", (subject,)
            ).fetchall()
        return [(decode_action_record(value, ActionDecision), stored) for value, stored in rows]

    def take_switch(self, decision: ActionDecision, stored: int) -> bool:
        """Record a decision to stop or resume all actions; return False if a later one is known. Raises OSError."""
        with transaction(self._base):
            known = self._base.execute("SELECT stored FROM switch").fetchone()
            if known is not None and known[0] > stored:
                return False
            self._base.execute(
                "INSERT OR REPLACE INTO switch VALUES (1, ?, ?)", (encode_action_record(decision), stored)
            )
            return True

    def stop(self) -> ActionDecision | None:
        """Return the decision by which nothing may be done; None if there is none."""
        with as_os_errors():
            row = self._base.execute("SELECT value FROM switch").fetchone()
        decision = None if row is None else decode_action_record(row[0], ActionDecision)
        return decision if decision is not None and decision.type == "stop" else None

    def results(self, after: int, most: int = 64) -> Sequence[tuple[int, bytes]]:
        """Return results that nobody took yet, with their numbers, the oldest first."""
        with as_os_errors():
            return self._base.execute(
                "SELECT number, value FROM results WHERE number > ? ORDER BY number LIMIT ?", (after, most)
            ).fetchall()

    def taken(self, numbers: Iterable[int]) -> None:
        """Delete results that somebody has stored. Raises OSError."""
        with transaction(self._base):
            self._base.executemany("DELETE FROM results WHERE number = ?", [(each,) for each in numbers])

    def forget(self, now: int) -> None:
        """Forget what was stored long ago. now: ns since the epoch. Raises OSError."""
        with transaction(self._base):
            self._base.execute(
                "DELETE FROM actions WHERE status IN ('over', 'waiting') AND stored < ?", (now - RETENTION,)
            )
            self._base.execute("DELETE FROM decisions WHERE stored < ?", (now - RETENTION,))
            oldest = "SELECT id FROM decisions ORDER BY stored DESC LIMIT -1 OFFSET ?"
            self._base.execute(f"DELETE FROM decisions WHERE id IN ({oldest})", (MAX_DECISIONS,))  # noqa: S608

    def close(self) -> None:
        """Close the file."""
        self._base.close()

    def _add(self, results: Iterable[ActionResult]) -> None:
        for each in results:
            self._base.execute("INSERT INTO results (value) VALUES (?)", (encode_action_record(each),))
        last = self._base.execute("SELECT max(number) FROM results").fetchone()[0] or 0
        self.lost_results += self._base.execute("DELETE FROM results WHERE number <= ?", (last - MAX_RESULTS,)).rowcount

    def _select(self, where: str, *values: str) -> Sequence[JournaledAction]:
        columns = "value, stored, status, facts, boot, ends, ends_wall"
        with as_os_errors():
            rows = self._base.execute(f"SELECT {columns} FROM actions {where}", values).fetchall()  # noqa: S608
        found = []
        for value, stored, status, facts, boot, ends, ends_wall in rows:
            # Another release may have written what this one can't read.
            with suppress(BadActionRecord, ValueError):
                intent, known = decode_action_record(value, ActionIntent), None if facts is None else json.loads(facts)
                found.append(JournaledAction(intent, stored, status, known, boot, ends, ends_wall))
        return found
