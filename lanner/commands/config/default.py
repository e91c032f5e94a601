"""`lanner config default`: prints a settings file to start from."""

import json

import click

from lanner.cli.app import NO_SETTINGS, Options, front_command
from lanner.settings import Settings
from lanner.settings.render import plain, render


@front_command("default", example="lanner config default > /etc/lanner/lanner.yaml", without=NO_SETTINGS)
def command(options: Options) -> None:
    """Print all settings with their defaults and a description of each."""
    settings = Settings()
    if options.format == "json":
        click.echo(json.dumps(plain(settings), indent=2))
    else:
        click.echo(render(settings, comments=True), nl=False)
