"""`lanner events`: takes this host's events, prints them."""

import click

from lanner.cli.app import Group
from lanner.cli.tables import EVENTS


@click.group("events", cls=Group, lazy=EVENTS, example="sudo lanner events tail")
def command() -> None:
    """Show events."""
