"""`lanner rules convert`: takes rules of other tools, prints rule files."""

import click

from lanner.cli.app import Group
from lanner.cli.tables import CONVERT


@click.group("convert", cls=Group, lazy=CONVERT, example="lanner rules convert sigma rules/linux --output sigma.yaml")
def command() -> None:
    """Convert rules of other tools."""
