"""The options that select dead letters, shared by the commands of `lanner dlq`."""

import fnmatch
import functools
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import click

from lanner.cli.terminal.output import note
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


def filter_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add --local, --sink, --rule and --reason; passed as `local` and one `DeadLetterFilter`, `selection`."""

    @functools.wraps(function)
    def wrapped(*args: Any, sink: str, rule: str, reason: str, **kwargs: Any) -> Any:
        return function(*args, selection=DeadLetterFilter(sink, rule, reason), **kwargs)

    for option in (
        click.option("--reason", default="*", metavar="PATTERN", help="Only those with this reason."),
        click.option("--rule", default="*", metavar="PATTERN", help="Only alerts of these rules; * matches any text."),
        click.option("--sink", default="*", metavar="NAME", help="Only those of this sink, or `processor`."),
        click.option("--local", is_flag=True, help="Use this host's outboxes instead of the broker."),
    ):
        wrapped = option(wrapped)
    return wrapped


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


def act_on(
    batches: Iterable[tuple[DeadLetterStore, Sequence[StoredDeadLetter]]],
    act: Callable[[DeadLetterStore, Sequence[StoredDeadLetter]], None],
    what: str,
    *,
    quiet: bool,
) -> None:
    """Act on dead letters; print the id of each and then how many there were, also if an error ends it midway.

    Args:
        batches: as `chosen` yields them.
        act: called for each batch.
        what: what was done, for the last line.
        quiet: leave the last line out.
    """
    count = 0
    try:
        for store, dead_letters in batches:
            act(store, dead_letters)
            count += len(dead_letters)
            sys.stdout.write("".join(f"{each.id}\n" for each in dead_letters))
    except BaseException:
        # Nothing was done, so there is only the error to report.
        quiet = quiet or not count
        raise
    finally:
        if not quiet:
            note(f"{what} {count:,}.")


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


def must_choose(ids: Sequence[str], *, every: bool) -> None:
    """Check that dead letters are selected, by id or by --all. Raises UsageError."""
    if bool(ids) == every:
        raise click.UsageError("give dead-letter ids, or --all (--sink, --rule and --reason narrow it).")
