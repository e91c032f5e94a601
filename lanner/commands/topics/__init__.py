"""`lanner topics`: takes the settings; creates topics and grants rights on the broker."""

import click

from lanner.cli.app import Group
from lanner.cli.tables import TOPICS


@click.group("topics", cls=Group, lazy=TOPICS, example="lanner topics create --partitions 8 --replication-factor 3")
def command() -> None:
    """Create and check a fleet's topics and ACLs."""
