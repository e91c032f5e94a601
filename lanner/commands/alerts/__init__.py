"""`lanner alerts`: takes a fleet's alerts from their topic, prints them."""

import click

from lanner.cli.app import ALERTS, Group


@click.group("alerts", cls=Group, lazy=ALERTS, example="lanner alerts tail --since 1h")
def command() -> None:
    """Show a fleet's alerts."""
