"""`lanner state show`: shows the values that a macro of type first_seen knows."""

import json
import sys

import click

from lanner.cli.app import Options, front_command
from lanner.cli.terminal.output import note
from lanner.cli.terminal.tables import print_table
from lanner.errors import BadInput
from lanner.known_state.source import state_options, state_source
from lanner.known_state.tables import chosen_group, known_values, macro_named
from schemas.text.times import date_and_time_seconds, iso8601_zulu


@front_command("show", example="lanner state show new_program\nlanner state show new_program --group nginx")
@click.argument("macro")
@click.option("--group", "groups", multiple=True, metavar="VALUE", help="Only this group; one for each group-by field.")
@state_options
def command(options: Options, macro: str, groups: tuple[str, ...], *, topic: bool) -> None:
    """Show the values that MACRO knows, by group, with the time of the newest sighting.

    The time is when the broker received the event, rounded down to a 64th of the lookback.
    """
    settings = options.settings()
    source = state_source(settings, topic=topic, quiet=options.quiet)
    chosen = macro_named(source.plan, macro)
    if chosen.correlation.type != "first_seen":
        raise BadInput(f"{macro} is of type {chosen.correlation.type}: `lanner state list` shows its number of groups.")
    group = chosen_group(chosen, groups) or ()
    rows = [each for each in known_values(source.state, chosen) if not group or each.group == group]
    if settings.json_output:
        for row in rows:
            record = {"group": row.group, "value": row.value, "seen": iso8601_zulu(row.seen * 10**9)}
            sys.stdout.write(json.dumps(record) + "\n")
    elif rows:
        print_table(
            ("GROUP", "VALUE", "SEEN"),
            [(", ".join(row.group), ", ".join(row.value), date_and_time_seconds(row.seen * 10**9)) for row in rows],
        )
    elif not options.quiet:
        note("no values are known.")
