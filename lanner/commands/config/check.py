"""`lanner config check`: whether the settings are right."""

import os

import click

from lanner.cli.app import Options, front_command
from lanner.settings import find_file


@front_command("check", example="lanner config check -c /etc/lanner/lanner.yaml")
def command(options: Options) -> None:
    """Check the settings: every fault with its place. Ends with 1 if there is one."""
    options.settings()
    click.echo(f"{find_file(options.config, os.environ) or 'no settings file; defaults'}: fine")
