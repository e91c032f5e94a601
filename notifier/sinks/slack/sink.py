"""The Slack sink: one message per second and channel, repeats in a thread, a digest during a flood.

With the Web API, repeats are posted in the thread of the first message and counted in it.
"""

import re
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from hashlib import blake2b
from pathlib import Path

from foundation.sqlite import as_os_errors, open_database
from notifier.formats.facts import FIELDS
from notifier.sink import Delivered, RateLimited, RetryLater, RoutedAlert, SendOutcome, Sink, Undeliverable
from notifier.sinks.slack.blocks import digest, message, represented
from notifier.sinks.slack.client import GONE, MessageRef, SlackClient
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


SECONDS_PER_MESSAGE = 1.0
"""Slack's limit for a channel. Source: docs.slack.dev, rate limits."""
SECONDS_PER_EDIT = 2.0
"""chat.update allows about 50 calls a minute over all channels. Source: as above, tier 3."""
SECONDS_AFTER_A_FAILED_EDIT = 30.0
FLOOD = 10
"""So many waiting alerts mean a delay of over ten seconds; from here on they are sent as a digest."""
BATCH_SIZE = 500
THREAD_SECONDS = 3600.0
"""How long repeats go into a message's thread; then a new message is posted."""


class SlackSink(Sink):
    """Posts one alert at a time, or a digest of all that wait if there are too many."""

    batch_size = BATCH_SIZE

    def __init__(
        self,
        client: SlackClient,
        posted: PostedMessages | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        """Create a sink. posted: the record of posted messages; in memory only if None. Clocks are in seconds."""
        self._client = client
        self._posted = PostedMessages(None) if posted is None else posted
        self._clock = clock
        self._wall = wall
        self._free_at: dict[str | None, float] = {}
        self._edit_at = 0.0
        self._posted_to: set[tuple[str, str | None]] = set()
        """Ids and channels already posted, while other channels of the same alerts are still to come."""

    def send(self, alerts: Sequence[RoutedAlert]) -> SendOutcome:
        """Post the first alert, or a digest of all alerts to each channel."""
        self._update_count()
        flood = len(alerts) >= FLOOD
        batch = alerts if flood else alerts[:1]
        by_channel: dict[str | None, list[RoutedAlert]] = {}
        for routed in batch:
            for each in (routed, *routed.more):
                if (each.alert.id, each.channel) not in self._posted_to:
                    by_channel.setdefault(each.channel, []).append(each)
        for channel, group in by_channel.items():
            outcome: SendOutcome = self._paced(channel) or (
                self._digest(channel, group) if flood else self._one(group[0])
            )
            if isinstance(outcome, Undeliverable):
                return Undeliverable(outcome.reason, len(batch))
            if not isinstance(outcome, Delivered):
                return outcome
            self._posted_to.update((each.alert.id, channel) for each in group)
        ids = {routed.alert.id for routed in batch}
        self._posted_to = {each for each in self._posted_to if each[0] not in ids}
        return Delivered(len(batch))

    def idle(self) -> None:
        """Update the count shown in a message."""
        self._update_count()

    def close(self) -> None:
        """Close the record of messages; outdated counts are updated after the next start."""
        self._posted.close()

    def _digest(self, channel: str | None, group: Sequence[RoutedAlert]) -> SendOutcome:
        outcome, _ = self._client.post(digest([routed.alert for routed in group]), channel, None)
        self._spent(channel)
        if isinstance(outcome, Delivered):
            for routed in group:
                self._count(routed, self._original(routed))
        return outcome

    def _one(self, routed: RoutedAlert) -> SendOutcome:
        with suppress(OSError):
            if self._posted.of(routed.alert.id, routed.channel) is not None:
                # Posted by a process that died before it could acknowledge the alert.
                return Delivered()
        original = self._original(routed)
        outcome, posted = self._client.post(message(routed), routed.channel, original.ref if original else None)
        self._spent(routed.channel)
        if original is not None and isinstance(outcome, Undeliverable) and outcome.reason in GONE:
            # Someone deleted the message: post a new one.
            with suppress(OSError):
                self._posted.forget(original)
            return RateLimited(SECONDS_PER_MESSAGE)
        if isinstance(outcome, Delivered) and original is not None:
            self._count(routed, original)
        elif isinstance(outcome, Delivered) and posted is not None:
            # Delivered: if it can't be recorded, repeats become messages of their own, and nothing is lost.
            with suppress(OSError):
                self._posted.add(routed, posted, self._wall())
        return outcome

    def _original(self, routed: RoutedAlert) -> PostedMessage | None:
        """Return the message in whose thread an alert belongs."""
        if not self._client.can_edit:
            return None
        with suppress(OSError):
            repeats = routed.alert.repeats
            if repeats:
                return self._posted.of(repeats.first_id, routed.channel)
            return self._posted.like(routed, self._wall() - THREAD_SECONDS)
        return None

    def _count(self, routed: RoutedAlert, original: PostedMessage | None) -> None:
        if original is not None:
            alert = routed.alert
            with suppress(OSError):
                self._posted.count(original, represented(alert), alert.repeats.last if alert.repeats else alert.time)

    def _update_count(self) -> None:
        """Update one outdated count, as often as Slack allows."""
        if not self._client.can_edit or self._clock() < self._edit_at:
            return
        with suppress(OSError):
            outdated = self._posted.outdated()
            if outdated is None:
                return
            outcome = self._client.edit(message(outdated.routed, outdated.repeats), outdated.ref)
            self._edit_at = self._clock() + SECONDS_PER_EDIT
            match outcome:
                case Delivered():
                    self._posted.shown(outdated)
                case Undeliverable():
                    self._posted.forget(outdated)
                case RetryLater(_, after):
                    self._edit_at += after or SECONDS_AFTER_A_FAILED_EDIT
                case RateLimited():
                    pass

    def _paced(self, channel: str | None) -> RateLimited | None:
        wait = self._free_at.get(channel, 0.0) - self._clock()
        return RateLimited(wait) if wait > 0 else None

    def _spent(self, channel: str | None) -> None:
        # Slack counts failed requests too.
        self._free_at[channel] = self._clock() + SECONDS_PER_MESSAGE
