"""`lanner config show`: the settings in force."""

import json

import click

from lanner.cli.app import Options, front_command
from lanner.settings.masking import masked
from lanner.settings.render import plain, render


@front_command("show", example="LANNER__PRIORITY=warning lanner config show")
def command(options: Options) -> None:
    """Print the settings in force: file, environment and flags together.

    What is secret and was given inline (values of a webhook's headers, the path of its address, passwords in addresses)
    shows as ***.
    """
    settings = masked(options.settings())
    if options.format == "json":
        click.echo(json.dumps(plain(settings), indent=2))
    else:
        click.echo(render(settings, comments=False), nl=False)
