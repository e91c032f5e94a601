"""`lanner config`: takes settings, prints, checks or converts them."""

import click

from lanner.cli.app import Group
from lanner.cli.tables import CONFIG


@click.group("config", cls=Group, lazy=CONFIG, example="lanner config default > /etc/lanner/lanner.yaml")
def command() -> None:
    """Print and check settings."""
