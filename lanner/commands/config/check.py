"""`lanner config check`: validates the settings."""

import os

import click

from lanner.cli.app import Options, front_command
from lanner.settings import find_file


@front_command("check", example="lanner config check -c /etc/lanner/lanner.yaml")
def command(options: Options) -> None:
    """Check the settings and report every error with its location. Exits with 1 if there is one."""
    options.settings()
    click.echo(f"{find_file(options.config, os.environ) or 'no settings file; defaults'}: valid")
