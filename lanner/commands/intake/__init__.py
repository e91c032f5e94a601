"""`lanner intake`: takes events of other systems into the broker."""

import click

from lanner.cli.app import Group
from lanner.cli.tables import INTAKE


@click.group("intake", cls=Group, lazy=INTAKE, example="lanner intake kubernetes-audit --listen 0.0.0.0:8765")
def command() -> None:
    """Take events of other systems into the broker."""
