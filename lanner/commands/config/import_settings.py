"""`lanner config import`: converts settings of falcosidekick or Falco."""

import sys
from pathlib import Path

import click

from lanner.cli.app import NO_SETTINGS, Options, front_command
from lanner.cli.terminal.output import note
from lanner.errors import BadInput
from lanner.importing.falco import import_falco, is_falco
from lanner.importing.falcosidekick import from_variables, import_falcosidekick, is_falcosidekick
from lanner.settings.load import read_text
from lanner.settings.tree import parse_yaml
from schemas.text.printable import printable


@front_command(
    "import", example="lanner config import falcosidekick.yaml > lanner.yaml", formats=(), without=NO_SETTINGS
)
@click.argument("file", type=click.Path(path_type=Path))
def command(options: Options, file: Path) -> None:
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
