"""`lanner fields`: lists the fields of conditions and outputs."""

import json

import click

from lanner.cli.app import NO_RULES, Options, front_command
from lanner.cli.terminal.tables import print_table
from lanner.errors import BadInput
from lanner.field_docs import field_page, shown_name
from lanner.sources.installed import define_sources
from processor.fields.availability import remark_on, source_of
from processor.loading.problems.hints import did_you_mean
from schemas.catalogue.fields import FIELDS, FieldSpec


@front_command("fields", example="lanner fields proc.", formats=("text", "json", "markdown"), without=NO_RULES)
@click.argument("prefix", default="")
def command(options: Options, prefix: str) -> None:
    """List the fields that rules can use; with PREFIX, only those that start with it.

    Fields that mapping files of the settings define are among them.
    """
    define_sources(options.load().settings)
    chosen = [spec for name, spec in FIELDS.items() if name.startswith(prefix)]
    if not chosen:
        hint = did_you_mean(prefix, FIELDS)
        raise BadInput(f"no field begins with {prefix!r}{f'; {hint}' if hint else '.'}")
    if options.format == "json":
        click.echo(json.dumps([_row(spec) for spec in chosen], indent=2))
    elif options.format == "markdown":
        click.echo(field_page(chosen), nl=False)
    else:
        rows = [
            (shown_name(spec), spec.type.lower(), "yes" if source_of(spec) == "live" else "", _description(spec))
            for spec in chosen
        ]
        print_table(("FIELD", "TYPE", "LIVE", "DESCRIPTION"), rows)


def _description(spec: FieldSpec) -> str:
    remark = remark_on(spec)
    return f"{spec.description} ({remark})" if remark else spec.description


def _row(spec: FieldSpec) -> dict[str, object]:
    return {
        "name": spec.name,
        "type": spec.type,
        "argument": spec.argument,
        "argument_kind": spec.argument_kind,
        "list": spec.is_list,
        "filter_only": spec.filter_only,
        "print_only": spec.print_only,
        "deprecated": spec.deprecated,
        "filled": source_of(spec),
        "filled_live": source_of(spec) == "live",
        "remark": remark_on(spec),
        "description": spec.description,
    }
