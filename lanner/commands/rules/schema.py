"""`lanner rules schema`: prints the JSON schema of rule files."""

import json

import click

from lanner.cli.app import NO_SETTINGS, Options, front_command
from lanner.ruleset.editor.schema import rule_schema


@front_command("schema", example="lanner rules schema > rules.schema.json", formats=(), without=NO_SETTINGS)
def command(_options: Options) -> None:
    """Print the JSON schema of rule files, with which editors check and complete keys.

    In an editor with YAML support, the first line of a rule file names the schema:
    `# yaml-language-server: $schema=rules.schema.json`. `lanner rules lsp` also checks conditions.
    """
    click.echo(json.dumps(rule_schema(), indent=2))
