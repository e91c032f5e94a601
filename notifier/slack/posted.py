"""Messages that stand in Slack, on disk: so that what comes later is counted in them and threads under them.

It is a record of where things stand, and no line of alerts: if it can't be written, a message stands by itself.
"""

import os
import re
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from hashlib import blake2b
from pathlib import Path

from notifier.delivery.outcome import RoutedAlert
from notifier.queue.outbox import MODE
from notifier.slack.blocks import PLACES
from notifier.slack.client import Posted
from schemas.alert import BadAlert, Repeats, decode_alert, encode_alert

REMEMBERED = 10_000
"""Messages; about 20 MB on disk."""
_TABLE = """
CREATE TABLE IF NOT EXISTS posted (
    number INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT, place TEXT, kind BLOB, at REAL, channel TEXT, time TEXT,
    alert BLOB, text TEXT, count INTEGER DEFAULT 0, last INTEGER DEFAULT 0, shown INTEGER DEFAULT 0, UNIQUE (id, place)
);
CREATE INDEX IF NOT EXISTS posted_kind ON posted (kind, number);
CREATE INDEX IF NOT EXISTS posted_behind ON posted (number) WHERE count != shown;
"""
_COLUMNS = "number, channel, time, alert, text, count, last"
_DIGITS = re.compile(r"\d+")


@dataclass(frozen=True, slots=True)
class Standing:
    """A message that stands in a channel."""

    number: int
    posted: Posted
    parcel: RoutedAlert
    """What it told, as far as its blocks need it."""
    count: int
    """How often the same came again."""
    last: int
    """When it did last; event time, ns since the epoch."""

    @property
    def repeats(self) -> Repeats:
        """What its blocks are to say of that."""
        alert = self.parcel.alert
        return Repeats(alert.id, self.count, alert.time, max(alert.time, self.last), 0)


class PostedMessages:
    """A window over the newest messages; every method raises OSError where the disk doesn't take it."""

    def __init__(self, path: Path | None, *, remembered: int = REMEMBERED) -> None:
        """Open the file, making it where it isn't; None keeps them in memory. Raises OSError."""
        self._remembered = remembered
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, MODE))
        with _as_os_errors():
            self._base = sqlite3.connect(path or ":memory:", isolation_level=None, timeout=5, check_same_thread=False)
            self._base.execute("PRAGMA journal_mode=WAL")
            self._base.execute("PRAGMA synchronous=NORMAL")
            self._base.executescript(_TABLE)

    def add(self, parcel: RoutedAlert, posted: Posted, now: float) -> None:
        """Remember a message; now is the wall clock, seconds."""
        alert = parcel.alert
        slim = replace(alert, event={name: alert.event[name] for name in PLACES if name in alert.event}, window=None)
        row = (alert.id, parcel.channel or "", kind(parcel), now, posted.channel, posted.time, encode_alert(slim))
        with _as_os_errors():
            self._base.execute(
                "INSERT OR REPLACE INTO posted (id, place, kind, at, channel, time, alert, text)"
                " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                (*row, parcel.text),
            )
            self._base.execute(
                "DELETE FROM posted WHERE number <= (SELECT max(number) FROM posted) - ?", (self._remembered,)
            )

    def of(self, alert_id: str, channel: str | None) -> Standing | None:
        """Give the message of an alert; channel is the one that a route named."""
        return self._one("id = ? AND place = ?", alert_id, channel or "")

    def like(self, parcel: RoutedAlert, since: float) -> Standing | None:
        """Give the newest message that told the same and was posted since then."""
        return self._one("kind = ? AND at >= ? ORDER BY number DESC LIMIT 1", kind(parcel), since)

    def behind(self) -> Standing | None:
        """Give the message whose count has been wrong the longest."""
        return self._one("count != shown ORDER BY number LIMIT 1")

    def count(self, standing: Standing, more: int, last: int) -> None:
        """Count what came again."""
        self._do("UPDATE posted SET count = count + ?, last = max(last, ?) WHERE number = ?", more, last, standing)

    def shown(self, standing: Standing) -> None:
        """Record that a message shows its count."""
        self._do("UPDATE posted SET shown = ? WHERE number = ?", standing.count, standing)

    def forget(self, standing: Standing) -> None:
        """Forget a message that stands no more."""
        self._do("DELETE FROM posted WHERE number = ?", standing)

    def close(self) -> None:
        """Close the file."""
        self._base.close()

    def _do(self, statement: str, *values: int | Standing) -> None:
        with _as_os_errors():
            self._base.execute(statement, [each.number if isinstance(each, Standing) else each for each in values])

    def _one(self, condition: str, *values: str | bytes | float) -> Standing | None:
        with _as_os_errors():
            row = self._base.execute(f"SELECT {_COLUMNS} FROM posted WHERE {condition}", values).fetchone()  # noqa: S608  our own conditions
        if row is None:
            return None
        number, channel, time, data, text, count, last = row
        try:
            return Standing(number, Posted(channel, time), RoutedAlert(decode_alert(data), None, text), count, last)
        except BadAlert:
            # Of a release whose alerts can't be read any more.
            self._do("DELETE FROM posted WHERE number = ?", number)
            return None


def kind(parcel: RoutedAlert) -> bytes:
    """Say what makes two alerts the same to a reader: rule, place, and a text that differs in numbers at most.

    Whoever attacks can make texts differ, and so many messages; nobody can hide another file or command in a thread.
    """
    alert = parcel.alert
    place = (str(alert.event.get("container.id", "")), alert.hostname, parcel.channel or "")
    parts = (alert.rule, alert.priority, *place, _DIGITS.sub("0", parcel.text or alert.output))
    return blake2b("\x1f".join(parts).encode("utf-8", "surrogatepass"), digest_size=16).digest()


@contextmanager
def _as_os_errors() -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        raise OSError(str(error)) from None
