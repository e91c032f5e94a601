"""`lanner dlq show`: shows dead letters in full."""

import sys

import click

from lanner.cli.app import NO_RULES, Options, front_command
from lanner.dead_letters.selection import DeadLetterFilter, chosen
from lanner.dead_letters.store import content
from lanner.dead_letters.stores import open_stores
from schemas.text.printable import printable
from schemas.text.times import iso8601_zulu


@front_command("show", example="lanner dlq show notifier:12", formats=(), without=NO_RULES)
@click.argument("ids", nargs=-1, required=True, metavar="ID...")
@click.option("--local", is_flag=True, help="Use this host's outboxes instead of the broker.")
def command(options: Options, ids: tuple[str, ...], *, local: bool) -> None:
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
