"""`lanner fields`: what conditions and outputs may name."""

import json

import click

from lanner.front import Options, front_command
from lanner.terminal import print_table
from schemas.catalogue import FIELDS, FieldSpec
from schemas.extract import is_filled


@front_command("fields", example="lanner fields proc.")
@click.argument("prefix", default="")
def command(options: Options, prefix: str) -> None:
    """List the fields that rules can use; with PREFIX, those that begin with it."""
    chosen = [spec for name, spec in FIELDS.items() if name.startswith(prefix)]
    if options.format == "json":
        click.echo(json.dumps([_row(spec) for spec in chosen], indent=2))
    else:
        rows = [
            (_shown(spec), spec.type.lower(), "yes" if is_filled(spec.name) else "", spec.description)
            for spec in chosen
        ]
        print_table(("FIELD", "TYPE", "LIVE", "WHAT IT SAYS"), rows)


def _shown(spec: FieldSpec) -> str:
    match spec.argument:
        case "none":
            return spec.name
        case "optional":
            return f"{spec.name}[]"
        case "required":
            return f"{spec.name}[{spec.argument_kind}]"


def _row(spec: FieldSpec) -> dict[str, object]:
    return {
        "name": spec.name,
        "type": spec.type,
        "argument": spec.argument,
        "argument_kind": spec.argument_kind,
        "list": spec.is_list,
        "filter_only": spec.filter_only,
        "deprecated": spec.deprecated,
        "filled_live": is_filled(spec.name),
        "description": spec.description,
    }
