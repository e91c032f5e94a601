"""A sink's queue on disk: undelivered alerts survive the process.

SQLite in WAL mode: a commit survives a kill -9 of the process, and costs about ten microseconds. The log is synced to
disk once a second, so a power failure loses at most one second of alerts, or delivers them twice.

A full outbox drops the newest alert of the rule with the most waiting, weighted by its priority. So a noisy rule pushes
out neither alerts of other rules nor its own first ones.
"""

import fcntl
import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from foundation.files import PRIVATE, DiskSync
from foundation.sqlite import as_os_errors, open_database, opening, transaction
from schemas.alert import Alert, BadAlert, decode_alert, encode_alert
from schemas.catalog.priorities import SEVERITY

_MAX_RULES = 1000
"""Rules counted separately. Names from the intake are untrusted and may be made up."""
OTHERS = ""
"""The common share of all other rules."""


class FairShares:
    """Counts waiting alerts by rule."""

    def __init__(self) -> None:
        self._counts: dict[str, int] = {}
        self._severities: dict[str, int] = {}

    def name_of(self, rule: str) -> str:
        """Return the share that an alert of a rule belongs to."""
        return rule if rule in self._counts or len(self._counts) < _MAX_RULES else OTHERS

    def add(self, share: str, severity: int, count: int = 1) -> None:
        """Count alerts that were queued. severity: 0 (emergency) to 7 (debug)."""
        self._counts[share] = self._counts.get(share, 0) + count
        self._severities[share] = max(severity, self._severities.get(share, 0))

    def remove(self, share: str) -> None:
        """Count an alert that left the queue."""
        left = self._counts.get(share, 0) - 1
        if left > 0:
            self._counts[share] = left
        else:
            self._counts.pop(share, None)
            self._severities.pop(share, None)

    def largest_with(self, share: str, severity: int) -> str:
        """Return the share that is largest with one more alert in share; ties go to another share.

        An emergency weighs one and a debug message eight, so rules of higher severity may have more waiting.
        """
        own = (self._counts.get(share, 0) + 1) * (max(severity, self._severities.get(share, 0)) + 1)
        largest, size = share, own
        for name, count in self._counts.items():
            weight = count * (self._severities[name] + 1)
            if name != share and weight >= size:
                largest, size = name, weight
        return largest


REMEMBERED = 200_000
"""Ids of delivered alerts that are stored to drop duplicates; about 15 MB."""
_PRUNE_EVERY = 1000
_LEAST_SEVERE = 7

_TABLES = """
CREATE TABLE IF NOT EXISTS waiting (number INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT UNIQUE, taken REAL, alert BLOB);
CREATE TABLE IF NOT EXISTS delivered (number INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT UNIQUE);
CREATE TABLE IF NOT EXISTS dead (
    number INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT, reason TEXT, attempts INTEGER, at REAL, alert BLOB
);
"""
_COLUMNS = {"share": "TEXT NOT NULL DEFAULT ''", "severity": "INTEGER NOT NULL DEFAULT 4"}
"""Columns of `waiting` that older releases did not create."""

Put = Literal["stored", "repeat", "full"]
"""Result of `put`: stored; already waiting or recently delivered; dropped for lack of room."""


@dataclass(frozen=True, slots=True)
class Queued:
    """An alert that waits for its sink."""

    number: int
    """Its position in its queue."""
    alert: Alert
    taken: float
    """When it was queued: wall clock, seconds."""


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """An alert that its sink refused."""

    number: int
    alert_id: str
    reason: str
    attempts: int
    at: float
    """Wall clock, seconds."""
    data: bytes
    """The encoded alert."""


class Outbox:
    """The queue of one sink, filled by the process's main thread and drained by the sink's thread."""

    def __init__(self, path: Path, *, capacity: int, clock: Callable[[], float] = time.time) -> None:
        """Open the file; create it if missing.

        Args:
            path: of the SQLite file.
            capacity: maximum number of waiting alerts; those dropped for lack of room are counted.
            clock: wall clock, seconds.

        Raises:
            DatabaseUnusable: the file can't be opened.
        """
        self.overflowed = 0
        """Alerts dropped because the outbox was full."""
        self._capacity = capacity
        self._shares = FairShares()
        self._count = 0
        self._clock = clock
        self._lock = threading.Condition()
        with opening(path):
            self._base = open_database(path, _TABLES)
            self._lock_file = os.open(f"{path}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, PRIVATE)
            self._add_columns()
            self._recount()
        self._since_pruned = 0
        self._is_owner = False
        self._log = Path(f"{path}-wal")
        self._sync = DiskSync()

    def put(self, alert: Alert) -> Put:
        """Queue an alert, if there is room or it outweighs a waiting one.

        Raises:
            OSError: the disk is full or failing.
        """
        with self._transaction():
            if self._has("delivered", alert.id) or self._has("waiting", alert.id):
                return "repeat"
            severity = SEVERITY.get(alert.priority, _LEAST_SEVERE)
            share = self._shares.name_of(alert.rule)
            while self._count >= self._capacity:
                if not self._make_room(share, severity):
                    self.overflowed += 1
                    return "full"
            self._base.execute(
                "INSERT INTO waiting (id, taken, alert, share, severity) VALUES (?, ?, ?, ?, ?)",
                (alert.id, self._clock(), encode_alert(alert), share, severity),
            )
            self._shares.add(share, severity)
            self._count += 1
            self._lock.notify_all()
        self._sync.touched(self._log)
        return "stored"

    def fetch(self, limit: int, timeout: float) -> Sequence[Queued]:
        """Return the oldest alerts and leave them in the queue. timeout: seconds to wait for the first one.

        Only one process, and one sink after a reload, drains an outbox; others wait until it ends.
        """
        if not self._is_owner and not self._acquire():
            time.sleep(timeout)
            return []
        with self._lock:
            if not self._count and timeout > 0:
                self._lock.wait(timeout)
            rows = self._base.execute(
                "SELECT number, taken, alert FROM waiting ORDER BY number LIMIT ?", (limit,)
            ).fetchall()
            # Another process may have put dead letters back.
            self._count = max(self._count, len(rows))
        found = []
        for number, taken, data in rows:
            try:
                found.append(Queued(number, decode_alert(data), taken))
            except BadAlert as error:
                with self._transaction():
                    self._dead_letter(number, str(error), 0)
        return found

    def pause(self, seconds: float) -> None:
        """Wait while the sink is down."""
        time.sleep(seconds)

    def acknowledge(self, queued: Sequence[Queued]) -> None:
        """Remove delivered alerts and record their ids, in one transaction."""
        with self._transaction():
            for each in queued:
                self._base.execute("INSERT OR IGNORE INTO delivered (id) VALUES (?)", (each.alert.id,))
                self._remove(each.number)
            self._since_pruned += len(queued)
            if self._since_pruned >= _PRUNE_EVERY:
                self._since_pruned = 0
                self._base.execute(
                    "DELETE FROM delivered WHERE number <= (SELECT max(number) FROM delivered) - ?", (REMEMBERED,)
                )

    def dead_letter(self, queued: Queued, reason: str, attempts: int) -> None:
        """Move an alert to the dead letters."""
        with self._transaction():
            self._dead_letter(queued.number, reason, attempts)

    def backlog(self) -> int:
        """Return how many alerts wait."""
        return self._count

    def oldest(self) -> float | None:
        """Return when the oldest waiting alert was queued: wall clock, seconds."""
        with self._lock:
            row = self._base.execute("SELECT taken FROM waiting ORDER BY number LIMIT 1").fetchone()
        return None if row is None else float(row[0])

    def dead_letters(self) -> list[DeadLetter]:
        """Return the dead letters, oldest first."""
        with self._lock:
            rows = self._base.execute("SELECT number, id, reason, attempts, at, alert FROM dead ORDER BY number")
            return [DeadLetter(*row) for row in rows.fetchall()]

    def replay(self, number: int) -> bool:
        """Queue a dead letter again; return False if there is none with that number."""
        return self._settle(number, requeue=True)

    def drop(self, number: int) -> bool:
        """Delete a dead letter; return False if there is none with that number."""
        return self._settle(number, requeue=False)

    def close(self) -> None:
        """Close the file; waiting alerts stay."""
        self._sync.close()
        with self._lock:
            self._base.close()
            os.close(self._lock_file)

    def _acquire(self) -> bool:
        try:
            fcntl.flock(self._lock_file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        self._is_owner = True
        with self._lock:
            self._recount()
        return True

    def _settle(self, number: int, *, requeue: bool) -> bool:
        with self._transaction():
            row = self._base.execute("SELECT id, alert FROM dead WHERE number = ?", (number,)).fetchone()
            if row is None:
                return False
            if requeue:
                before = self._base.total_changes
                self._base.execute(
                    "INSERT OR IGNORE INTO waiting (id, taken, alert) VALUES (?, ?, ?)", (row[0], self._clock(), row[1])
                )
                if self._base.total_changes > before:
                    self._count += 1
                    self._shares.add("", _LEAST_SEVERE)
                self._lock.notify_all()
            self._base.execute("DELETE FROM dead WHERE number = ?", (number,))
            return True

    def _dead_letter(self, number: int, reason: str, attempts: int) -> None:
        self._base.execute(
            "INSERT INTO dead (id, reason, attempts, at, alert)"
            " SELECT id, ?, ?, ?, alert FROM waiting WHERE number = ?",
            (reason, attempts, self._clock(), number),
        )
        self._remove(number)

    def _remove(self, number: int) -> None:
        # `put` may have dropped it in the meantime to make room.
        for (share,) in self._base.execute(
            "DELETE FROM waiting WHERE number = ? RETURNING share", (number,)
        ).fetchall():
            self._count -= 1
            self._shares.remove(share)

    def _make_room(self, share: str, severity: int) -> bool:
        """Drop the newest alert of the largest share; return False if that would be the new alert."""
        largest = self._shares.largest_with(share, severity)
        if largest == share:
            return False
        query = "SELECT number FROM waiting WHERE share = ? ORDER BY number DESC LIMIT 1"
        row = self._base.execute(query, (largest,)).fetchone()
        if row is None:
            # Another process removed some.
            self._recount()
            return self._count < self._capacity or self._shares.largest_with(share, severity) != share
        self.overflowed += 1
        self._remove(row[0])
        return True

    def _add_columns(self) -> None:
        there = {row[1] for row in self._base.execute("PRAGMA table_info(waiting)").fetchall()}
        for name, kind in _COLUMNS.items():
            if name not in there:
                self._base.execute(f"ALTER TABLE waiting ADD COLUMN {name} {kind}")
        self._base.execute("CREATE INDEX IF NOT EXISTS waiting_by_share ON waiting (share, number)")

    def _recount(self) -> None:
        rows = self._base.execute("SELECT share, count(*), max(severity) FROM waiting GROUP BY share").fetchall()
        self._shares = FairShares()
        for share, count, severity in rows:
            self._shares.add(share, severity, count)
        self._count = sum(int(count) for _, count, _ in rows)

    def _has(self, table: str, alert_id: str) -> bool:
        query = f"SELECT 1 FROM {table} WHERE id = ?"  # noqa: S608  our own names
        return self._base.execute(query, (alert_id,)).fetchone() is not None

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        """Lock the file for one transaction. Raises OSError if SQLite can't write."""
        with self._lock:
            try:
                with transaction(self._base):
                    yield
            except BaseException:
                with suppress(OSError), as_os_errors():
                    self._recount()
                raise
