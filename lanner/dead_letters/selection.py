"""Selects dead letters by id, sink, rule and reason."""

import fnmatch
import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from foundation.sqlite import DatabaseUnusable
from foundation.text import OnNote, count_of
from lanner.dead_letters.store import OUTBOX_ENDING, DeadLetterStore, StoredDeadLetter
from lanner.errors import BadInput
from notifier.delivery.outbox import Outbox

TOGETHER = 500
"""Dead letters settled in one batch."""
TOGETHER_BYTES = 64 << 20
_ID = re.compile(r"([\w.-]+):(\d{1,18})", re.ASCII)


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
