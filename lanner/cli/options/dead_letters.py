"""The options that select dead letters, shared by the commands of `lanner dlq`."""

import functools
import sys
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import click

from lanner.cli.terminal.output import note
from lanner.dead_letters.selection import DeadLetterFilter
from lanner.dead_letters.store import DeadLetterStore, StoredDeadLetter


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


def must_choose(ids: Sequence[str], *, every: bool) -> None:
    """Check that dead letters are selected, by id or by --all. Raises UsageError."""
    if bool(ids) == every:
        raise click.UsageError("give dead-letter ids, or --all (--sink, --rule and --reason narrow it).")
