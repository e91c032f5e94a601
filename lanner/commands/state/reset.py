"""`lanner state reset`: makes a stateful macro forget."""

import click

from lanner.cli.app import Options, front_command
from lanner.cli.terminal.output import note
from lanner.errors import BadInput
from lanner.installation.libraries import need
from lanner.known_state.source import is_fleet, request_reset, state_options
from lanner.known_state.tables import chosen_group, macro_named
from lanner.ruleset.compile import load_detection
from lanner.wiring.kafka import reachable_connection
from processor.correlation.plan.split import StatefulMacro
from processor.correlation.pre_match import combined


@front_command(
    "reset",
    example="lanner state reset new_program\nlanner state reset new_program --group nginx --value /usr/bin/curl",
    formats=(),
)
@click.argument("macro")
@click.option("--group", "groups", multiple=True, metavar="VALUE", help="Only this group; one for each group-by field.")
@click.option("--value", "values", multiple=True, metavar="VALUE", help="Only this value; one for each field.")
@state_options
def command(options: Options, macro: str, groups: tuple[str, ...], values: tuple[str, ...], *, topic: bool) -> None:
    """Make MACRO forget everything, one group, or one value of a group.

    A group of first_seen that was forgotten learns again; a value that was forgotten is new when it comes again.
    """
    settings = options.settings()
    if is_fleet(settings, topic=topic):
        need("processor", "confluent_kafka", "cryptography")
        from lanner.known_state.fleet import FleetState, active_plan

        connection = reachable_connection(settings)
        chosen = macro_named(active_plan(settings, connection)[0], macro)
        group, value = _chosen(chosen, groups, values)
        FleetState(connection).reset(chosen, group, value)
        when = "the processors forget it as soon as they have processed what came before."
    else:
        chosen = macro_named(load_detection(settings, warnings=False).ruleset.plan, macro)
        group, value = _chosen(chosen, groups, values)
        request_reset(settings, chosen, group, value)
        when = "`lanner run` forgets it within five seconds, or when it starts."
    if not options.quiet:
        note(f"{macro}: {when}")


def _chosen(
    macro: StatefulMacro, groups: tuple[str, ...], values: tuple[str, ...]
) -> tuple[tuple[str, ...] | None, str | None]:
    correlation = macro.correlation
    group = chosen_group(macro, groups)
    if not values:
        return group, None
    if correlation.type != "first_seen" or len(values) != len(correlation.fields):
        fields = ", ".join(correlation.fields) if correlation.type == "first_seen" else "no fields"
        raise BadInput(f"--value: {macro.name} knows values of {fields}: give one for each.")
    if group is None:
        raise BadInput(f"--value: add --group for {', '.join(correlation.group_by)}.")
    return group, combined(values)
