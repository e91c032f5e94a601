"""`lanner config show`: prints the effective settings."""

import json

import click

from lanner.cli.app import Options, front_command
from lanner.settings.masking import masked
from lanner.settings.render import plain, render


@front_command("show", example="LANNER__PRIORITY=warning lanner config show")
def command(options: Options) -> None:
    """Print the effective settings: defaults, file, environment and flags combined.

    Secrets given inline (webhook header values, paths of webhook URLs, passwords in URLs) are shown as ***.
    """
    settings = masked(options.settings())
    if options.format == "json":
        click.echo(json.dumps(plain(settings), indent=2))
    else:
        click.echo(render(settings, comments=False), nl=False)
