"""`lanner rules`: takes rule files or published rules; checks, tests, shows and publishes them."""

import click

from lanner.cli.app import Group
from lanner.cli.tables import RULES


@click.group("rules", cls=Group, lazy=RULES, example="lanner rules validate my_rules.yaml")
def command() -> None:
    """Check, list and show rules."""
