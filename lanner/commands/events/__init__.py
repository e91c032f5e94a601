"""`lanner events`: a look at what rules see."""

import click

from lanner.cli.app import EVENTS, Group


@click.group("events", cls=Group, lazy=EVENTS, example="sudo lanner events tail")
def command() -> None:
    """Look at events."""
