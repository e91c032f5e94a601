"""`lanner rules`: what the rules say and whether they are right."""

import click

from lanner.cli.app import RULES, Group


@click.group("rules", cls=Group, lazy=RULES, example="lanner rules validate my_rules.yaml")
def command() -> None:
    """Check, list and show rules."""
