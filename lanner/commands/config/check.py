"""`lanner config check`: validates the settings."""

import os
from dataclasses import replace
from typing import TYPE_CHECKING

import click

from lanner.cli.app import Options, front_command
from lanner.settings import find_file

if TYPE_CHECKING:
    from lanner.wiring.check import Stage

_STAGES = ("run", "collector", "processor", "notifier", "kubernetes", "intake", "console")


@front_command(
    "check", example="lanner config check /etc/lanner/lanner.yaml\nlanner config check --for notifier", formats=()
)
@click.argument("file", required=False, type=click.Path())
@click.option(
    "--for",
    "stage",
    type=click.Choice(_STAGES),
    default="run",
    show_default=True,
    help="The command that the settings are for.",
)
def command(options: Options, file: str | None, stage: "Stage") -> None:
    """Check the settings as a stage does before it starts, and report every error with its location.

    FILE is the settings file, as with -c. Rule files, routes, the files of secrets and the sinks that are enabled are
    checked too; nothing is started or written. Exits with 1 on errors.
    """
    from lanner.wiring.check import check_settings

    options = replace(options, config=file or options.config)
    check_settings(options.load(), stage)
    click.echo(f"{find_file(options.config, os.environ) or 'no settings file; defaults'}: valid")
