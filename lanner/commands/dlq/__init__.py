"""`lanner dlq`: what could not be delivered or read."""

import click

from lanner.cli.app import DLQ, Group


@click.group("dlq", cls=Group, lazy=DLQ, example="lanner dlq list\nlanner dlq replay --all --sink slack --dry-run")
def command() -> None:
    """Look at dead letters, put them back, or throw them away.

    Those of the notifiers are alerts that a sink refused, those of the processors messages that are no events. With
    --local: those in the outboxes of this host's `lanner run`.
    """
