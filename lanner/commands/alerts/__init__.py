"""`lanner alerts`: what a fleet's rules found."""

import click

from lanner.cli.app import ALERTS, Group


@click.group("alerts", cls=Group, lazy=ALERTS, example="lanner alerts tail --since 1h")
def command() -> None:
    """Look at a fleet's alerts."""
