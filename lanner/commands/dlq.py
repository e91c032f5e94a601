"""`lanner dlq`: takes dead letters from the broker or outboxes; lists, retries or discards them."""

import functools
import json
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict
from typing import Any

import click

from foundation.quantities import iso8601_zulu
from foundation.text import printable
from lanner.cli.app import NO_RULES, Group, Options, front_command
from lanner.cli.tables import DLQ
from lanner.dead_letters import DeadLetterFilter, DeadLetterStore, StoredDeadLetter, chosen, content
from lanner.terminal.output import note
from lanner.terminal.tables import print_table
from lanner.wiring.stores import open_stores


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
    """Act on dead letters; print the id of each, and then what was done to how many, also if an error ends it."""
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


@click.group("dlq", cls=Group, lazy=DLQ, example="lanner dlq list\nlanner dlq replay --all --sink slack --dry-run")
def command() -> None:
    """List, show, replay or drop dead letters.

    Dead letters of notifiers are alerts that a sink refused; dead letters of processors are messages that aren't valid
    events. With --local: those in the outboxes of this host's `lanner run`.
    """


@front_command(
    "drop", example="lanner dlq drop notifier:12 --note 'test alert, channel was wrong'", formats=(), without=NO_RULES
)
@click.argument("ids", nargs=-1, metavar="[ID...]")
@click.option("--all", "every", is_flag=True, help="All that --sink, --rule and --reason select.")
@click.option(
    "--note", "why", required=True, metavar="TEXT", help="The reason; stored with the dead letter in the topic."
)
@click.option("--dry-run", is_flag=True, help="Only list them.")
@filter_options
def drop_letters(
    options: Options,
    ids: tuple[str, ...],
    selection: DeadLetterFilter,
    *,
    every: bool,
    why: str,
    dry_run: bool,
    local: bool,
) -> None:
    """Discard dead letters without sending them; from an outbox they are deleted."""
    must_choose(ids, every=every)

    def act(store: DeadLetterStore, dead_letters: Sequence[StoredDeadLetter]) -> None:
        if not dry_run:
            store.drop(dead_letters, why)

    batches = chosen(open_stores(options.settings(), local=local), ids, selection)
    act_on(batches, act, "would drop" if dry_run else "dropped", quiet=options.quiet)


_RULE, _REASON = 60, 80


@front_command(
    "list", example="lanner dlq list --sink slack --reason 'invalid*'\nlanner dlq list --format json", without=NO_RULES
)
@filter_options
def list_letters(options: Options, selection: DeadLetterFilter, *, local: bool) -> None:
    """List dead letters, oldest first, except those already replayed or dropped."""
    settings = options.settings()
    rows: list[tuple[str, ...]] = []
    count = 0
    for _, dead_letters in chosen(open_stores(settings, local=local), (), selection):
        count += len(dead_letters)
        for each in dead_letters:
            time = iso8601_zulu(int(each.at * 1e9))
            if settings.json_output:
                record = {
                    name: value for name, value in asdict(each).items() if name not in ("data", "origin", "number")
                }
                sys.stdout.write(json.dumps(record | {"at": time}) + "\n")
            else:
                rule, reason = _short(each.rule, _RULE), _short(each.reason, _REASON)
                rows.append((each.id, time[:19], each.sink, rule, reason, str(each.attempts)))
    if rows:
        print_table(("ID", "TIME", "SINK", "RULE", "REASON", "ATTEMPTS"), rows)
    if not count and not options.quiet:
        note("no dead letters.")


def _short(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[: most - 3]}..."


@front_command(
    "replay",
    example="lanner dlq replay notifier:12 notifier:13\n"
    "lanner dlq replay --all --sink slack --reason 'channel_not_found*'",
    formats=(),
    without=NO_RULES,
)
@click.argument("ids", nargs=-1, metavar="[ID...]")
@click.option("--all", "every", is_flag=True, help="All that --sink, --rule and --reason select.")
@click.option("--dry-run", is_flag=True, help="Only list them.")
@filter_options
def replay_letters(
    options: Options, ids: tuple[str, ...], selection: DeadLetterFilter, *, every: bool, dry_run: bool, local: bool
) -> None:
    """Retry dead letters: an alert goes to the sink that refused it, a message of events into its partition.

    Each disappears from the list once all replicas have its copy. If it fails again, it becomes a new dead letter.
    """
    must_choose(ids, every=every)

    def act(store: DeadLetterStore, dead_letters: Sequence[StoredDeadLetter]) -> None:
        if not dry_run:
            store.replay(dead_letters)

    batches = chosen(open_stores(options.settings(), local=local), ids, selection)
    act_on(batches, act, "would retry" if dry_run else "retried", quiet=options.quiet)


@front_command("show", example="lanner dlq show notifier:12", formats=(), without=NO_RULES)
@click.argument("ids", nargs=-1, required=True, metavar="ID...")
@click.option("--local", is_flag=True, help="Use this host's outboxes instead of the broker.")
def show_letter(options: Options, ids: tuple[str, ...], *, local: bool) -> None:
    """Show dead letters with all their fields; hostile text is escaped."""
    for _, dead_letters in chosen(open_stores(options.settings(), local=local), ids, DeadLetterFilter()):
        for each in dead_letters:
            facts = {
                "time": iso8601_zulu(int(each.at * 1e9)),
                "sink": each.sink,
                "rule": each.rule,
                "reason": each.reason,
                "attempts": str(each.attempts),
                **each.details,
            }
            lines = [f"{name:<9}{printable(value)}" for name, value in facts.items()]
            sys.stdout.write("\n".join([each.id, *lines, "", content(each.data), "", ""]))
