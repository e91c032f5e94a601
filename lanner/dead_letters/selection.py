"""Selects dead letters by id, sink, rule and reason."""

import fnmatch
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

from lanner.dead_letters.store import DeadLetterStore, StoredDeadLetter
from lanner.errors import BadInput

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
