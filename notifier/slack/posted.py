"""Messages posted to Slack, stored on disk so that later repeats are counted in them and posted in their threads.

No alert depends on it: if it can't be written, a repeat becomes a message of its own.
"""

import re
from dataclasses import dataclass, replace
from hashlib import blake2b
from pathlib import Path

from notifier.delivery.outcome import RoutedAlert
from notifier.formats.facts import FIELDS
from notifier.queue.database import as_os_errors, open_database
from notifier.slack.client import MessageRef
from schemas.alert import BadAlert, Repeats, decode_alert, encode_alert

REMEMBERED = 10_000
"""Messages; about 40 MB on disk."""
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
class PostedMessage:
    """A message that was posted to a channel."""

    number: int
    ref: MessageRef
    routed: RoutedAlert
    """Its alert, with the fields that its blocks show."""
    count: int
    """How often the alert repeated."""
    last: int
    """Event time of the last repeat, ns since the epoch."""

    @property
    def repeats(self) -> Repeats:
        """The repeats that its blocks show."""
        alert = self.routed.alert
        return Repeats(alert.id, self.count, alert.time, max(alert.time, self.last), 0)


class PostedMessages:
    """The newest posted messages. Every method raises OSError if the disk fails."""

    def __init__(self, path: Path | None, *, remembered: int = REMEMBERED) -> None:
        """Open the file, creating it if missing; None stores them in memory. Raises OSError."""
        self._remembered = remembered
        with as_os_errors():
            self._base = open_database(path, _TABLE)

    def add(self, routed: RoutedAlert, ref: MessageRef, now: float) -> None:
        """Store a message; now is the wall clock, seconds."""
        alert = routed.alert
        slim = replace(alert, event={name: alert.event[name] for name in FIELDS if name in alert.event}, window=None)
        row = (alert.id, routed.channel or "", kind(routed), now, ref.channel, ref.time, encode_alert(slim))
        with as_os_errors():
            self._base.execute(
                "INSERT OR REPLACE INTO posted (id, place, kind, at, channel, time, alert, text)"
                " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                (*row, routed.text),
            )
            self._base.execute(
                "DELETE FROM posted WHERE number <= (SELECT max(number) FROM posted) - ?", (self._remembered,)
            )

    def of(self, alert_id: str, channel: str | None) -> PostedMessage | None:
        """Return the message of an alert; channel is the one that its route names."""
        return self._one("id = ? AND place = ?", alert_id, channel or "")

    def like(self, routed: RoutedAlert, since: float) -> PostedMessage | None:
        """Return the newest message with the same kind of alert that was posted since then."""
        return self._one("kind = ? AND at >= ? ORDER BY number DESC LIMIT 1", kind(routed), since)

    def outdated(self) -> PostedMessage | None:
        """Return the message that has shown an outdated count for longest."""
        return self._one("count != shown ORDER BY number LIMIT 1")

    def count(self, message: PostedMessage, more: int, last: int) -> None:
        """Count repeats of a message."""
        self._do("UPDATE posted SET count = count + ?, last = max(last, ?) WHERE number = ?", more, last, message)

    def shown(self, message: PostedMessage) -> None:
        """Record that a message shows its current count."""
        self._do("UPDATE posted SET shown = ? WHERE number = ?", message.count, message)

    def forget(self, message: PostedMessage) -> None:
        """Delete the record of a message that no longer exists."""
        self._do("DELETE FROM posted WHERE number = ?", message)

    def close(self) -> None:
        """Close the file."""
        self._base.close()

    def _do(self, statement: str, *values: int | PostedMessage) -> None:
        with as_os_errors():
            self._base.execute(statement, [each.number if isinstance(each, PostedMessage) else each for each in values])

    def _one(self, condition: str, *values: str | bytes | float) -> PostedMessage | None:
        with as_os_errors():
            row = self._base.execute(f"SELECT {_COLUMNS} FROM posted WHERE {condition}", values).fetchone()  # noqa: S608  constant conditions
        if row is None:
            return None
        number, channel, time, data, text, count, last = row
        try:
            return PostedMessage(
                number, MessageRef(channel, time), RoutedAlert(decode_alert(data), None, text), count, last
            )
        except BadAlert:
            # Written by a release whose alerts can no longer be read.
            self._do("DELETE FROM posted WHERE number = ?", number)
            return None


def kind(routed: RoutedAlert) -> bytes:
    """Return a hash of what makes two alerts equal to a reader: rule, location, and text with digits masked.

    An attacker can vary the text to cause many messages, but can't hide another file or command in a thread.
    """
    alert = routed.alert
    location = (str(alert.event.get("container.id", "")), alert.hostname, routed.channel or "")
    parts = (alert.rule, alert.priority, *location, _DIGITS.sub("0", routed.text or alert.output))
    return blake2b("\x1f".join(parts).encode("utf-8", "surrogatepass"), digest_size=16).digest()
