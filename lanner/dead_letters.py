"""Dead letters: their interface, the outboxes of one host, and the selection by id, sink, rule and reason."""

import fnmatch
import json
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Protocol

from foundation.sqlite import DatabaseUnusable
from foundation.text import OnNote, count_of, printable
from lanner.errors import BadInput
from notifier.outbox import Outbox
from schemas.alert import Alert, BadAlert, decode_alert
from schemas.encoding.batch import BadBatch, decode_batch

OUTBOX_ENDING = ".outbox.db"
_SHOWN_BYTES = 256
TOGETHER = 500
"""Dead letters settled in one batch."""
TOGETHER_BYTES = 64 << 20
_ID = re.compile(r"([\w.-]+):(\d{1,18})", re.ASCII)


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


@dataclass(frozen=True, slots=True)
class DeadLetterFilter:
    """Selects dead letters; in each pattern `*` matches any text."""

    sink: str = "*"
    rule: str = "*"
    reason: str = "*"

    def matches(self, dead_letter: StoredDeadLetter) -> bool:
        """Return whether the filter selects a dead letter."""
        return (
            fnmatch.fnmatchcase(dead_letter.sink, self.sink)
            and fnmatch.fnmatchcase(dead_letter.rule, self.rule)
            and fnmatch.fnmatchcase(dead_letter.reason, self.reason)
        )


def chosen(
    stores: Sequence[DeadLetterStore], ids: Sequence[str], selection: DeadLetterFilter
) -> Iterator[tuple[DeadLetterStore, list[StoredDeadLetter]]]:
    """Yield the selected dead letters in batches.

    Args:
        stores: the stores to search.
        ids: as `lanner dlq list` prints them; empty to select by filter only.
        selection: the filter.

    Raises:
        BadInput: An id is invalid, or not found; raised after all others were yielded.
    """
    numbers: dict[str, set[int]] = {}
    names = [store.name for store in stores]
    for each in ids:
        found = _ID.fullmatch(each)
        if found is None or found[1] not in names:
            raise BadInput(
                f"{each!r} is not a valid dead-letter id, such as {names[0]}:12; `lanner dlq list` shows them."
            )
        numbers.setdefault(found[1], set()).add(int(found[2]))
    for store in stores:
        if ids and store.name not in numbers:
            continue
        left = numbers.get(store.name, set())
        selected = (
            each for each in store.dead_letters() if (not ids or each.number in left) and selection.matches(each)
        )
        while some := _some(selected):
            left -= {each.number for each in some}
            yield store, some
    missing = [f"{name}:{number}" for name, some in numbers.items() for number in sorted(some)]
    if missing:
        raise BadInput(f"{', '.join(missing)}: no such dead letter, or it is already replayed or dropped.")


def _some(dead_letters: Iterator[StoredDeadLetter]) -> list[StoredDeadLetter]:
    """Take the next batch, bounded by count and bytes."""
    some: list[StoredDeadLetter] = []
    size = 0
    for each in islice(dead_letters, TOGETHER):
        some.append(each)
        # The message as received, and as this release writes it.
        size += 2 * len(each.data)
        if size >= TOGETHER_BYTES:
            break
    return some


def report_orphaned_outboxes(folder: Path, sinks: Collection[str], note: OnNote) -> None:
    """Report how many alerts wait in each outbox that has no sink.

    Args:
        folder: notifier.state_dir.
        sinks: names of the enabled sinks.
        note: receives messages for an operator.
    """
    for path in sorted(folder.glob(f"*{OUTBOX_ENDING}")):
        name = path.name.removesuffix(OUTBOX_ENDING)
        if name in sinks:
            continue
        try:
            outbox = Outbox(path, capacity=1)
        except DatabaseUnusable:
            continue
        if waiting := outbox.backlog():
            note(f"{name}: {count_of(waiting, 'alert')} in {path}, but no sink is configured that delivers them.")
        outbox.close()
