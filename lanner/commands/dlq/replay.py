"""`lanner dlq replay`: retries dead letters."""

from collections.abc import Sequence

import click

from lanner.cli.app import NO_RULES, Options, front_command
from lanner.cli.options.dead_letters import act_on, filter_options, must_choose
from lanner.dead_letters.selection import DeadLetterFilter, chosen
from lanner.dead_letters.store import DeadLetterStore, StoredDeadLetter
from lanner.dead_letters.stores import open_stores


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
def command(
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
