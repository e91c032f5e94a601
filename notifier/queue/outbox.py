"""A network sink's outbox on disk: what the process took but could not deliver yet survives it.

SQLite in WAL mode: a commit outlives a kill -9 of the process, and costs some ten microseconds. The log is brought to
the disk once a second: what a power cut takes is that second, whose alerts are lost, or delivered twice.

A full outbox makes room where the most is: the rule that has the most waiting, measured by its priority, gives its
newest alert. So noise neither pushes out alerts of other rules, nor the first ones of its own.
"""

import fcntl
import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from bus.disk_sync import DiskSync
from notifier.formats.severity import SEVERITY
from notifier.queue.fair_share import FairShares
from schemas.alert import Alert, BadAlert, decode_alert, encode_alert
from schemas.errors import LannerError

MODE = 0o600
"""Alerts quote command lines, and command lines hold secrets."""
REMEMBERED = 200_000
"""Ids of delivered alerts that are kept, to drop a second one; about 15 MB."""
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
"""Of `waiting`, which an older release made without them."""

Put = Literal["kept", "repeat", "full"]
"""What became of an alert: it waits; it waits here already or was delivered not long ago; there is no room for it."""


class OutboxUnusable(LannerError):
    """The outbox can't be opened, or is no outbox."""


@dataclass(frozen=True, slots=True)
class Queued:
    """An alert that waits for its sink."""

    number: int
    """Its place in the line it waits in."""
    alert: Alert
    taken: float
    """Wall clock, seconds, at which it was taken."""


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
    """The alert as it was encoded."""


class Outbox:
    """The line of one sink: put by the process's main thread, emptied by the sink's own."""

    def __init__(self, path: Path, *, most: int, clock: Callable[[], float] = time.time) -> None:
        """Open the file, making it where it isn't.

        Args:
            path: of the SQLite file.
            most: alerts that may wait; what there is no room for is counted.
            clock: wall clock, seconds.

        Raises:
            OutboxUnusable: with a sentence for people.
        """
        self.overflowed = 0
        """Alerts that had to go, or were not kept, because the outbox was full."""
        self._most = most
        self._shares = FairShares()
        self._count = 0
        self._clock = clock
        self._lock = threading.Condition()
        try:
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            # Made before SQLite does, which would take the umask's mode; its side files take this one's.
            os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, MODE))
            self._turnstile = os.open(f"{path}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, MODE)
            self._base = sqlite3.connect(path, check_same_thread=False, isolation_level=None, timeout=5)
            self._base.execute("PRAGMA journal_mode=WAL")
            self._base.execute("PRAGMA synchronous=NORMAL")
            self._base.executescript(_TABLES)
            self._add_columns()
            self._recount()
        except OSError as error:
            raise OutboxUnusable(f"{path}: {error.strerror}") from None
        except sqlite3.Error as error:
            raise OutboxUnusable(f"{path}: {error}") from None
        self._since_pruned = 0
        self._has_turn = False
        self._sync = DiskSync(Path(f"{path}-wal"))

    def put(self, alert: Alert) -> Put:
        """Take an alert, if there is room or it is worth more than what waits.

        Raises:
            OSError: the disk is full or broken.
        """
        with self._transaction():
            if self._has("delivered", alert.id) or self._has("waiting", alert.id):
                return "repeat"
            severity = SEVERITY.get(alert.priority, _LEAST_SEVERE)
            share = self._shares.name_of(alert.rule)
            while self._count >= self._most:
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
        self._sync.touched()
        return "kept"

    def waiting(self, most: int, timeout: float) -> Sequence[Queued]:
        """Give the oldest alerts and leave them where they are; wait for one for at most so many seconds.

        Only one process, and one sink after a reload, empties a line: another has to wait for its end.
        """
        if not self._has_turn and not self._take_turn():
            time.sleep(timeout)
            return []
        with self._lock:
            if not self._count and timeout > 0:
                self._lock.wait(timeout)
            rows = self._base.execute(
                "SELECT number, taken, alert FROM waiting ORDER BY number LIMIT ?", (most,)
            ).fetchall()
            # Another process may have put dead letters back.
            self._count = max(self._count, len(rows))
        found = []
        for number, taken, data in rows:
            try:
                found.append(Queued(number, decode_alert(data), taken))
            except BadAlert as error:
                with self._transaction():
                    self._bury(number, str(error), 0)
        return found

    def idle(self, seconds: float) -> None:
        """Let time pass while the sink is down."""
        time.sleep(seconds)

    def done(self, queued: Sequence[Queued]) -> None:
        """Take delivered alerts out of the line and remember their ids, both or neither."""
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

    def bury(self, queued: Queued, reason: str, attempts: int) -> None:
        """Move an alert from the line to the dead letters."""
        with self._transaction():
            self._bury(queued.number, reason, attempts)

    def backlog(self) -> int:
        """Give how many wait."""
        return self._count

    def oldest(self) -> float | None:
        """Give when the oldest that waits was taken; wall clock, seconds."""
        with self._lock:
            row = self._base.execute("SELECT taken FROM waiting ORDER BY number LIMIT 1").fetchone()
        return None if row is None else float(row[0])

    def dead_letters(self) -> list[DeadLetter]:
        """List what was refused, oldest first."""
        with self._lock:
            rows = self._base.execute("SELECT number, id, reason, attempts, at, alert FROM dead ORDER BY number")
            return [DeadLetter(*row) for row in rows.fetchall()]

    def replay(self, number: int) -> bool:
        """Put a dead letter back into the line; False if there is none of that number."""
        return self._settle(number, again=True)

    def drop(self, number: int) -> bool:
        """Throw a dead letter away; False if there is none of that number."""
        return self._settle(number, again=False)

    def close(self) -> None:
        """Close the file; what waits stays."""
        self._sync.close()
        with self._lock:
            self._base.close()
            os.close(self._turnstile)

    def _take_turn(self) -> bool:
        try:
            fcntl.flock(self._turnstile, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        self._has_turn = True
        with self._lock:
            self._recount()
        return True

    def _settle(self, number: int, *, again: bool) -> bool:
        with self._transaction():
            row = self._base.execute("SELECT id, alert FROM dead WHERE number = ?", (number,)).fetchone()
            if row is None:
                return False
            if again:
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

    def _bury(self, number: int, reason: str, attempts: int) -> None:
        self._base.execute(
            "INSERT INTO dead (id, reason, attempts, at, alert)"
            " SELECT id, ?, ?, ?, alert FROM waiting WHERE number = ?",
            (reason, attempts, self._clock(), number),
        )
        self._remove(number)

    def _remove(self, number: int) -> None:
        # The line may have dropped it meanwhile, being full.
        for (share,) in self._base.execute(
            "DELETE FROM waiting WHERE number = ? RETURNING share", (number,)
        ).fetchall():
            self._count -= 1
            self._shares.remove(share)

    def _make_room(self, share: str, severity: int) -> bool:
        """Drop the newest alert of the largest share; False where the one that comes would be that."""
        largest = self._shares.largest_with(share, severity)
        if largest == share:
            return False
        query = "SELECT number FROM waiting WHERE share = ? ORDER BY number DESC LIMIT 1"
        row = self._base.execute(query, (largest,)).fetchone()
        if row is None:
            # Another process took some away.
            self._recount()
            return self._count < self._most or self._shares.largest_with(share, severity) != share
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
        return bool(self._number(f"SELECT count(*) FROM {table} WHERE id = ?", alert_id))  # noqa: S608  our own names

    def _number(self, query: str, *values: str) -> int:
        return int(self._base.execute(query, values).fetchone()[0])

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        """Hold the lock for one transaction. Raises OSError for what SQLite can't write."""
        with self._lock:
            try:
                self._base.execute("BEGIN IMMEDIATE")
                yield
                self._base.execute("COMMIT")
            except sqlite3.Error as error:
                if self._base.in_transaction:
                    self._base.execute("ROLLBACK")
                with suppress(sqlite3.Error):
                    self._recount()
                raise OSError(str(error)) from None
