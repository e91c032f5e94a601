"""`lanner state`: takes a changelog or a state file; shows, teaches and resets what stateful rules remember."""

import click

from lanner.cli.app import Group
from lanner.cli.tables import STATE


@click.group("state", cls=Group, lazy=STATE, example="lanner state list\nlanner state reset new_program --group nginx")
def command() -> None:
    """Show and change what stateful rules remember: windows, and the values that first_seen knows.

    Of a fleet if a broker is configured, else of this host's `lanner run`.
    """
