"""Dead letters wherever they lie, and those in the outboxes of one host."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

from lanner.errors import BadInput
from notifier.queue.outbox import DeadLetter, Outbox, OutboxUnusable
from schemas.alert import Alert, BadAlert, decode_alert
from schemas.codec import BadBatch, decode_batch
from schemas.text.printable import printable

OUTBOX_ENDING = ".outbox.db"
_SHOWN_BYTES = 256


@dataclass(frozen=True, slots=True)
class StoredDeadLetter:
    """One dead letter."""

    id: str
    """The place where it lies and its number there, such as notifier:12."""
    at: float
    """Wall clock, seconds, at which it was given up."""
    sink: str
    rule: str
    """Of an alert; of a processor's batch where it came from."""
    reason: str
    attempts: int
    number: int
    data: bytes
    """The message as this release would have written it; what goes back are the bytes that failed."""
    told: Mapping[str, str]
    """What else is known of it."""
    origin: Any = None
    """What its place needs to settle it."""


class DeadLetterStore(Protocol):
    """Where dead letters lie."""

    name: str

    def letters(self) -> Iterator[StoredDeadLetter]:
        """Give those that are not settled, oldest first."""

    def replay(self, letters: Sequence[StoredDeadLetter]) -> None:
        """Put letters back to where they failed. Raises BadInput and BusUnavailable."""

    def drop(self, letters: Sequence[StoredDeadLetter], note: str) -> None:
        """Settle letters without sending them anywhere. Raises BadInput and BusUnavailable."""


class OutboxDeadLetters:
    """The refused alerts of one sink of `lanner run`."""

    def __init__(self, path: Path) -> None:
        """Open an outbox that is there. Raises BadInput."""
        self.name = path.name.removesuffix(OUTBOX_ENDING)
        try:
            self._outbox = Outbox(path, capacity=1)
        except OutboxUnusable as error:
            raise BadInput(f"notifier.state_dir: {error}.") from None

    def letters(self) -> Iterator[StoredDeadLetter]:
        """Give all, oldest first."""
        for each in self._outbox.dead_letters():
            yield self._letter(each)

    def replay(self, letters: Sequence[StoredDeadLetter]) -> None:
        """Put letters behind what waits; the process that delivers takes them within a second."""
        for each in letters:
            self._outbox.replay(each.number)

    def drop(self, letters: Sequence[StoredDeadLetter], note: str) -> None:  # noqa: ARG002  an outbox keeps no record of it
        """Delete letters."""
        for each in letters:
            self._outbox.drop(each.number)

    def _letter(self, each: DeadLetter) -> StoredDeadLetter:
        alert = alert_in(each.data)
        rule = "" if alert is None else alert.rule
        told = {"alert": each.alert_id, "host": "" if alert is None else alert.hostname}
        return StoredDeadLetter(
            f"{self.name}:{each.number}",
            each.at,
            self.name,
            rule,
            each.reason,
            each.attempts,
            each.number,
            each.data,
            told,
        )


def outboxes(folder: Path) -> list[OutboxDeadLetters]:
    """Open the outboxes in a folder. Raises BadInput."""
    return [OutboxDeadLetters(path) for path in sorted(folder.glob(f"*{OUTBOX_ENDING}"))]


def content(data: bytes) -> str:
    """Show what a letter holds, safe for a terminal: an alert as JSON, a batch in a line, else bytes."""
    alert = alert_in(data)
    if alert is not None:
        return json.dumps(asdict(alert), indent=2, default=str)
    try:
        batch = decode_batch(data)
    except BadBatch:
        shown = data[:_SHOWN_BYTES]
        rows = [f"{at:08x}  {shown[at : at + 16].hex(' ')}" for at in range(0, len(shown), 16)]
        return "\n".join([f"{len(data):,} bytes that are no alert and no batch of events", *rows])
    return printable(f"batch {batch.sequence} of host {batch.hostname}: {batch.count} events")


def alert_in(data: bytes) -> Alert | None:
    """Give the alert that bytes are, if they are one."""
    try:
        return decode_alert(data)
    except BadAlert:
        return None
