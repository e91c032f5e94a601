"""`lanner state list`: lists stateful macros with the size of what they remember."""

import json
import sys
import time
from dataclasses import asdict

from lanner.cli.app import Options, front_command
from lanner.cli.terminal.output import note
from lanner.cli.terminal.tables import print_table
from lanner.known_state.source import state_options, state_source
from lanner.known_state.tables import macro_states


@front_command("list", example="lanner state list\nlanner state list --topic --format json")
@state_options
def command(options: Options, *, topic: bool) -> None:
    """List the stateful macros that rules use, with the groups and values that they remember.

    LEARNING counts groups of first_seen that only learn: nothing is new there yet. FULL counts those that don't fire
    for some host, container or user, who brought too many values.
    """
    settings = options.settings()
    source = state_source(settings, topic=topic, quiet=options.quiet)
    rows = macro_states(source.state, source.plan, time.time_ns())
    if settings.json_output:
        for row in rows:
            sys.stdout.write(json.dumps(asdict(row)) + "\n")
    elif rows:
        print_table(
            ("MACRO", "TYPE", "GROUPS", "VALUES", "LEARNING", "FULL"),
            [
                (
                    row.name,
                    row.type,
                    f"{row.groups:,}",
                    *_counts(row.values, row.learning, row.full, is_first=row.type == "first_seen"),
                )
                for row in rows
            ],
        )
    elif not options.quiet:
        note("the active rules use no stateful macro.")


def _counts(*numbers: int, is_first: bool) -> tuple[str, ...]:
    return tuple(f"{number:,}" if is_first else "-" for number in numbers)
