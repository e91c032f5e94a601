"""The interface to dead letters, and its implementation for the outboxes of one host."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

from foundation.sqlite import DatabaseUnusable
from foundation.text import count_of, printable
from lanner.errors import BadInput
from notifier.delivery.outbox import Outbox
from schemas.alert import Alert, BadAlert, decode_alert
from schemas.encoding.batch import BadBatch, decode_batch

OUTBOX_ENDING = ".outbox.db"
_SHOWN_BYTES = 256


@dataclass(frozen=True, slots=True)
class StoredDeadLetter:
    """One dead letter."""

    id: str
    """Name of the store and number within it, such as notifier:12."""
    at: float
    """Time of dead-lettering, wall clock, seconds."""
    sink: str
    rule: str
    """The alert's rule; for a processor's batch, where it was read."""
    reason: str
    attempts: int
    number: int
    data: bytes
    """The message as this release writes it; a replay sends the original bytes."""
    details: Mapping[str, str]
    """More fields for display."""
    origin: Any = None
    """The facts by which the store settles it."""


class DeadLetterStore(Protocol):
    """A source of dead letters."""

    name: str

    def dead_letters(self) -> Iterator[StoredDeadLetter]:
        """Yield the dead letters that are not settled, oldest first."""

    def replay(self, dead_letters: Sequence[StoredDeadLetter]) -> None:
        """Retry dead letters. Raises BadInput and BusUnavailable."""

    def drop(self, dead_letters: Sequence[StoredDeadLetter], note: str) -> None:
        """Discard dead letters. Raises BadInput and BusUnavailable."""


class OutboxDeadLetters:
    """The refused alerts of one sink of `lanner run`."""

    def __init__(self, path: Path) -> None:
        """Open an existing outbox. Raises BadInput."""
        self.name = path.name.removesuffix(OUTBOX_ENDING)
        try:
            self._outbox = Outbox(path, capacity=1)
        except DatabaseUnusable as error:
            raise BadInput(f"notifier.state_dir: {error}.") from None

    def dead_letters(self) -> Iterator[StoredDeadLetter]:
        """Yield all dead letters, oldest first."""
        for each in self._outbox.dead_letters():
            alert = alert_in(each.data)
            yield StoredDeadLetter(
                f"{self.name}:{each.number}",
                each.at,
                self.name,
                "" if alert is None else alert.rule,
                each.reason,
                each.attempts,
                each.number,
                each.data,
                {"alert": each.alert_id, "host": "" if alert is None else alert.hostname},
            )

    def replay(self, dead_letters: Sequence[StoredDeadLetter]) -> None:
        """Append the dead letters to the queue; the delivering process sends them within a second."""
        for each in dead_letters:
            self._outbox.replay(each.number)

    def drop(self, dead_letters: Sequence[StoredDeadLetter], note: str) -> None:  # noqa: ARG002  an outbox stores no note
        """Delete dead letters."""
        for each in dead_letters:
            self._outbox.drop(each.number)

    def close(self) -> None:
        """Close the outbox."""
        self._outbox.close()


def outboxes(folder: Path) -> list[OutboxDeadLetters]:
    """Open the outboxes in a folder. Raises BadInput."""
    return [OutboxDeadLetters(path) for path in sorted(folder.glob(f"*{OUTBOX_ENDING}"))]


def content(data: bytes) -> str:
    """Return a dead letter's content, safe for a terminal: an alert as JSON, a batch as one line, else a hex dump."""
    alert = alert_in(data)
    if alert is not None:
        return json.dumps(asdict(alert), indent=2, default=str)
    try:
        batch = decode_batch(data)
    except BadBatch:
        shown = data[:_SHOWN_BYTES]
        rows = [f"{at:08x}  {shown[at : at + 16].hex(' ')}" for at in range(0, len(shown), 16)]
        return "\n".join([f"{len(data):,} bytes that are neither an alert nor a batch of events", *rows])
    return printable(f"batch {batch.sequence} of host {batch.hostname}: {count_of(batch.count, 'event')}")


def alert_in(data: bytes) -> Alert | None:
    """Decode an alert, or return None."""
    try:
        return decode_alert(data)
    except BadAlert:
        return None
