"""`lanner state learn`: teaches macros of type first_seen what retained events show."""

import sys

import click

from lanner.cli.app import Options, front_command
from lanner.cli.signals import Signals
from lanner.cli.terminal.output import StatusLine, note
from lanner.errors import BadInput
from lanner.installation.libraries import need
from lanner.known_state.learning import learning_macros
from lanner.known_state.tables import macro_named
from lanner.wiring.kafka import reachable_connection
from schemas.text.printable import printable


@front_command("learn", example="lanner state learn\nlanner state learn new_program", formats=())
@click.argument("macros", nargs=-1, metavar="[MACRO...]")
def command(options: Options, macros: tuple[str, ...]) -> None:
    """Teach macros of type first_seen what the fleet's retained events show: by default all of them.

    `lanner rules publish` does so for new and changed macros. What is known already stays. Where events of the whole
    learning period are retained, nothing has to be learned any longer.
    """
    need("processor", "confluent_kafka", "cryptography")
    from lanner.known_state.fleet import FleetState, active_plan, learn_from_topic, wait_until_supported

    settings = options.settings()
    connection = reachable_connection(settings)
    plan, version = active_plan(settings, connection)
    chosen = [macro_named(plan, name) for name in macros] if macros else list(learning_macros(plan))
    if wrong := [macro.name for macro in chosen if macro.correlation.type != "first_seen"]:
        raise BadInput(f"{', '.join(wrong)}: only macros of type first_seen learn.")
    if not chosen:
        note("the active rules use no macro of type first_seen.")
        return
    status = StatusLine(sys.stderr, enabled=not options.quiet)
    with Signals() as signals:
        if version:
            wait_until_supported(connection, version, lambda: signals.stop)
        values, remarks = learn_from_topic(FleetState(connection), plan, chosen, lambda: signals.stop, status.show)
        status.clear()
        if signals.stop:
            raise BadInput("stopped early: nothing was learned.")
    if not options.quiet:
        note(f"learned {values:,} values for {', '.join(macro.name for macro in chosen)}.")
        for remark in remarks:
            note(f"not learned: {printable(remark)}.")
