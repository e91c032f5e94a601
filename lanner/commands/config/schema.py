"""`lanner config schema`: prints the JSON schema of the settings file."""

import json

import click

from lanner.cli.app import NO_SETTINGS, Options, front_command
from lanner.settings.forms.schema import settings_schema


@front_command("schema", example="lanner config schema > lanner.schema.json", formats=(), without=NO_SETTINGS)
def command(_options: Options) -> None:
    """Print the JSON schema of the settings file, with which editors check and complete settings.

    In an editor with YAML support, the first line of lanner.yaml names the schema:
    `# yaml-language-server: $schema=lanner.schema.json`. `lanner config check` checks more.
    """
    click.echo(json.dumps(settings_schema(), indent=2))
