"""`lanner dlq drop`: discards dead letters."""

from collections.abc import Sequence

import click

from lanner.cli.app import NO_RULES, Options, front_command
from lanner.cli.options.dead_letters import act_on, filter_options, must_choose
from lanner.dead_letters.selection import DeadLetterFilter, chosen
from lanner.dead_letters.store import DeadLetterStore, StoredDeadLetter
from lanner.dead_letters.stores import open_stores


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
def command(
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
