"""`lanner topics`: what a fleet needs of its broker."""

import click

from lanner.cli.app import TOPICS, Group


@click.group("topics", cls=Group, lazy=TOPICS, example="lanner topics create --partitions 8 --replication-factor 3")
def command() -> None:
    """Create and check the topics that a fleet's stages meet at."""
