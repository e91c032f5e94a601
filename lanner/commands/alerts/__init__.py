"""`lanner alerts`: takes alerts from a fleet's topic or a host's recording, prints them."""

import click

from lanner.cli.app import Group
from lanner.cli.tables import ALERTS


@click.group("alerts", cls=Group, lazy=ALERTS, example="lanner alerts tail --since 1h")
def command() -> None:
    """Show the alerts of this host, or of a fleet."""
