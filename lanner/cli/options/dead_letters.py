"""Which dead letters a command is about: the flags that `lanner dlq`'s commands share, and what they choose."""

import fnmatch
import functools
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import click

from lanner.dead_letters.store import DeadLetterStore, StoredDeadLetter, outboxes
from lanner.errors import BadInput
from lanner.settings import Settings
from lanner.wiring.kafka import connection_of, need

TOGETHER = 500
"""Letters that are settled at once."""
TOGETHER_BYTES = 64 << 20
_ID = re.compile(r"([\w.-]+):(\d{1,18})", re.ASCII)


@dataclass(frozen=True, slots=True)
class DeadLetterFilter:
    """What letters must be like; `*` stands for any text."""

    sink: str = "*"
    rule: str = "*"
    reason: str = "*"

    def holds(self, letter: StoredDeadLetter) -> bool:
        """Tell whether a letter is meant."""
        return (
            fnmatch.fnmatchcase(letter.sink, self.sink)
            and fnmatch.fnmatchcase(letter.rule, self.rule)
            and fnmatch.fnmatchcase(letter.reason, self.reason)
        )


def filter_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command --local, --sink, --rule and --reason, handed to it as `local` and one `Filter`."""

    @functools.wraps(function)
    def wrapped(*args: Any, sink: str, rule: str, reason: str, **kwargs: Any) -> Any:
        return function(*args, wanted=DeadLetterFilter(sink, rule, reason), **kwargs)

    for option in (
        click.option("--reason", default="*", metavar="PATTERN", help="Only those given up for such a reason."),
        click.option(
            "--rule", default="*", metavar="PATTERN", help="Only alerts of such rules; * stands for any text."
        ),
        click.option("--sink", default="*", metavar="NAME", help="Only those of this sink, or of `processor`."),
        click.option("--local", is_flag=True, help="Those in this host's outboxes, instead of the broker's."),
    ):
        wrapped = option(wrapped)
    return wrapped


def places(settings: Settings, *, local: bool) -> Sequence[DeadLetterStore]:
    """Give where dead letters lie. Raises BadInput and BusUnavailable."""
    if local:
        folder = Path(settings.notifier.state_dir)
        found = outboxes(folder)
        if not found:
            raise BadInput(f"notifier.state_dir: {folder}: there is no outbox; without --local the broker is asked.")
        return found
    need("notifier", "confluent_kafka")
    from lanner.dead_letters.topics import TopicDeadLetters  # noqa: PLC0415  needs the broker's client

    connection = connection_of(settings)
    return [TopicDeadLetters(connection, "notifier"), TopicDeadLetters(connection, "processor")]


def chosen(
    where: Sequence[DeadLetterStore], ids: Sequence[str], wanted: DeadLetterFilter
) -> Iterator[tuple[DeadLetterStore, list[StoredDeadLetter]]]:
    """Give the letters that are meant, some at a time.

    Args:
        where: the places to look at.
        ids: as `list` prints them; empty for all that the filter lets through.
        wanted: the filter.

    Raises:
        BadInput: an id is none, or has no letter; after all others were given.
    """
    numbers: dict[str, set[int]] = {}
    names = [place.name for place in where]
    for each in ids:
        found = _ID.fullmatch(each)
        if found is None or found[1] not in names:
            raise BadInput(f"{each!r} is no id of a letter, such as {names[0]}:12; `lanner dlq list` shows them.")
        numbers.setdefault(found[1], set()).add(int(found[2]))
    for place in where:
        if ids and place.name not in numbers:
            continue
        left = numbers.get(place.name, set())
        letters = (each for each in place.letters() if (not ids or each.number in left) and wanted.holds(each))
        while some := _some(letters):
            left -= {each.number for each in some}
            yield place, some
    missing = [f"{name}:{number}" for name, some in numbers.items() for number in sorted(some)]
    if missing:
        raise BadInput(f"{', '.join(missing)}: no such letter, or it is settled already.")


def _some(letters: Iterator[StoredDeadLetter]) -> list[StoredDeadLetter]:
    """Take letters that are settled at once: as many as fit."""
    some: list[StoredDeadLetter] = []
    size = 0
    for each in islice(letters, TOGETHER):
        some.append(each)
        # The message as it came, and as this release would have written it.
        size += 2 * len(each.data)
        if size >= TOGETHER_BYTES:
            break
    return some


def must_choose(ids: Sequence[str], *, every: bool) -> None:
    """Check that a command was told which letters. Raises UsageError."""
    if bool(ids) == every:
        raise click.UsageError(
            "name letters by their ids, or say --all (with --sink, --rule and --reason to narrow it)."
        )
