"""`lanner dlq`: takes dead letters from the broker or outboxes; lists, retries or discards them."""

import click

from lanner.cli.app import Group
from lanner.cli.tables import DLQ


@click.group("dlq", cls=Group, lazy=DLQ, example="lanner dlq list\nlanner dlq replay --all --sink slack --dry-run")
def command() -> None:
    """List, show, replay or drop dead letters.

    Dead letters of notifiers are alerts that a sink refused; dead letters of processors are messages that aren't valid
    events. With --local: those in the outboxes of this host's `lanner run`.
    """
