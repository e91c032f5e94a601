"""`lanner config`: takes settings, prints, checks or converts them."""

import json
import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from foundation.text import printable
from lanner.cli.app import NO_SETTINGS, Group, Options, front_command
from lanner.cli.tables import CONFIG
from lanner.errors import BadInput
from lanner.importing.falco import import_falco, is_falco
from lanner.importing.falcosidekick import from_variables, import_falcosidekick, is_falcosidekick
from lanner.settings import Settings, find_file
from lanner.settings.load import parse_yaml, read_text
from lanner.settings.shown import masked, plain, render, settings_schema
from lanner.terminal.output import note

if TYPE_CHECKING:
    from lanner.wiring.check import Stage


@click.group("config", cls=Group, lazy=CONFIG, example="lanner config default > /etc/lanner/lanner.yaml")
def command() -> None:
    """Print and check settings."""


_STAGES = ("run", "collector", "processor", "notifier", "kubernetes", "intake", "archive", "console")


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
def check_config(options: Options, file: str | None, stage: "Stage") -> None:
    """Check the settings as a stage does before it starts, and report every error with its location.

    FILE is the settings file, as with -c. Rule files, routes, the files of secrets and the sinks that are enabled are
    checked too; nothing is started or written. Exits with 1 on errors. Ports, disks and the broker are checked by
    `lanner doctor`.
    """
    from lanner.wiring.check import check_settings, remarks

    options = replace(options, config=file or options.config)
    loaded = options.load()
    check_settings(loaded, stage)
    for text in remarks(loaded.settings):
        note(text, "warning")
    click.echo(f"{find_file(options.config, os.environ) or 'no settings file; defaults'}: valid")


@front_command("default", example="lanner config default > /etc/lanner/lanner.yaml", without=NO_SETTINGS)
def default_config(options: Options) -> None:
    """Print all settings with their defaults and a description of each."""
    settings = Settings()
    if options.format == "json":
        click.echo(json.dumps(plain(settings), indent=2))
    else:
        click.echo(render(settings, comments=True), nl=False)


@front_command(
    "import", example="lanner config import falcosidekick.yaml > lanner.yaml", formats=(), without=NO_SETTINGS
)
@click.argument("file", type=click.Path(path_type=Path))
def import_config(options: Options, file: Path) -> None:
    """Print a lanner.yaml equivalent to a falcosidekick.yaml, falcosidekick's environment variables or a falco.yaml.

    Each setting is carried over, or a line on standard error has the reason; settings of a section with the same reason
    share a line. Secrets are never copied: each has a line with the file to write it to.
    """
    text = read_text(file)
    variables = from_variables(text, str(file))
    tree = variables or parse_yaml(text, str(file))
    if is_falco(tree):
        draft, tool = import_falco(tree), "Falco"
    elif variables or is_falcosidekick(tree):
        draft, tool = import_falcosidekick(tree), "falcosidekick"
    else:
        raise BadInput(f"{file}: not a settings file of falcosidekick or Falco.")
    sys.stdout.write(f"# Made of {printable(str(file))} by `lanner config import`.\n{draft.text()}")
    for each in draft.notes:
        note(printable(each))
    if tool == "falcosidekick" and not options.quiet:
        run = " ".join(draft.sinks) or "SINK..."
        local = "" if any(sink.startswith("siem.") for sink in draft.sinks) else " --local"
        listen = "" if "intake" in draft.settings else " --listen 0.0.0.0:2801"
        note(f"then run, instead of falcosidekick: lanner notifier {run}{local}{listen} -c lanner.yaml")


@front_command("schema", example="lanner config schema > lanner.schema.json", formats=(), without=NO_SETTINGS)
def config_schema(_options: Options) -> None:
    """Print the JSON schema of the settings file, with which editors check and complete settings.

    In an editor with YAML support, the first line of lanner.yaml names the schema:
    `# yaml-language-server: $schema=lanner.schema.json`. `lanner config check` checks more.
    """
    click.echo(json.dumps(settings_schema(), indent=2))


@front_command("show", example="LANNER__PRIORITY=warning lanner config show")
def show_config(options: Options) -> None:
    """Print the effective settings: defaults, file, environment and flags combined.

    Secrets given inline (webhook header values, paths of webhook URLs, passwords in URLs) are shown as ***.
    """
    settings = masked(options.settings())
    if options.format == "json":
        click.echo(json.dumps(plain(settings), indent=2))
    else:
        click.echo(render(settings, comments=False), nl=False)
