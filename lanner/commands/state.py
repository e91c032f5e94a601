"""`lanner state`: takes a changelog or a state file; shows, teaches and resets what stateful rules remember."""

import json
import os
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import click

from bus.connection import Connection
from foundation.files import open_private
from foundation.quantities import date_and_time_seconds, iso8601_zulu
from foundation.text import printable
from lanner.cli.app import Group, Options, front_command
from lanner.cli.options import progress
from lanner.cli.tables import STATE
from lanner.errors import BadInput, or_bad_input
from lanner.known_state.files import reset_file
from lanner.known_state.tables import (
    chosen_group,
    known_values,
    learning_macros,
    macro_named,
    macro_states,
    read_state_file,
)
from lanner.libraries import need
from lanner.settings import Settings
from lanner.settings.sections.model import KafkaSettings
from lanner.terminal.output import note
from lanner.terminal.tables import print_table
from lanner.wiring.kafka import reachable_connection
from lanner.wiring.rules import load_detection
from processor.correlation.state import WindowState
from processor.matching.pre_match import combined
from processor.rule import TYPES
from processor.splitting import Plan, StatefulMacro


@click.group("state", cls=Group, lazy=STATE, example="lanner state list\nlanner state reset new_program --group nginx")
def command() -> None:
    """Show and change what stateful rules remember: windows, and the values that first_seen knows.

    Of a fleet if a broker is configured, else of this host's `lanner run`.
    """


@front_command("learn", example="lanner state learn\nlanner state learn new_program", formats=())
@click.argument("macros", nargs=-1, metavar="[MACRO...]")
def learn_values(options: Options, macros: tuple[str, ...]) -> None:
    """Teach macros of type first_seen what the fleet's retained events show: by default all of them.

    `lanner rules publish` does so for new and changed macros. What is known already stays. Where events of the whole
    learning period are retained, nothing has to be learned any longer.
    """
    need("processor", "confluent_kafka", "cryptography")
    from lanner.known_state.fleet import FleetState, learn_from_topic, wait_until_supported
    from lanner.recorder.topic import TopicStore

    settings = options.settings()
    connection = reachable_connection(settings)
    plan, version = _active_plan(settings, connection)
    chosen = [macro_named(plan, name) for name in macros] if macros else list(learning_macros(plan))
    if wrong := [macro.name for macro in chosen if not macro.correlation.kind.remembers_values]:
        raise BadInput(f"{', '.join(wrong)}: only macros of types first_seen and prevalence learn.")
    if not chosen:
        note("the active rules use no macro of type first_seen or prevalence.")
        return
    with progress(quiet=options.quiet) as search:
        if version:
            wait_until_supported(connection, version, search.stop)
        fleet, store = FleetState(connection), TopicStore(connection, note)
        values, remarks = learn_from_topic(fleet, store, plan, chosen, stop=search.stop, show=search.show)
    if search.stop():
        raise BadInput("stopped early: nothing was learned.")
    if not options.quiet:
        note(f"learned {values:,} values for {', '.join(macro.name for macro in chosen)}.")
        for remark in remarks:
            note(f"not learned: {printable(remark)}.")


def _active_plan(settings: Settings, connection: Connection) -> tuple[Plan, str]:
    """Return the plan of the published rules, or else of the rule files, and the version's name. Raises BadInput."""
    from lanner.wiring.published import accepted_version, detection_of_published

    rules = accepted_version(settings, connection)
    if rules is None:
        return load_detection(settings, warnings=False).ruleset.plan, ""
    return detection_of_published(settings, rules).ruleset.plan, rules.version


@dataclass(frozen=True, slots=True)
class StateSource:
    """State, and the rules that it belongs to."""

    state: WindowState
    plan: Plan


def state_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add the option that chooses the source, which is passed as `topic`."""
    return click.option("--topic", is_flag=True, help="Of the fleet.  [default: if a broker is configured]")(function)


def is_fleet(settings: Settings, *, topic: bool) -> bool:
    """Return whether a command is about a fleet. topic: whether that was named."""
    return topic or settings.kafka != KafkaSettings()


def state_source(settings: Settings, *, topic: bool, quiet: bool) -> StateSource:
    """Read the state of the fleet, or of this host's state file. Raises BadInput."""
    if not is_fleet(settings, topic=topic):
        path = Path(settings.memory.filename)
        source = StateSource(read_state_file(path), load_detection(settings, warnings=False).ruleset.plan)
        if not quiet:
            note(f"reading this host's own state in {path}; --topic reads a fleet's.")
        return source
    need("processor", "confluent_kafka", "cryptography")
    from lanner.known_state.fleet import FleetState

    connection = reachable_connection(settings)
    plan, _ = _active_plan(settings, connection)
    with progress(quiet=quiet) as search:
        state, unreadable = FleetState(connection).read(search.stop)
    if unreadable:
        note(f"{unreadable:,} records are of another release.")
    return StateSource(state, plan)


def request_reset(settings: Settings, macro: StatefulMacro, group: tuple[str, ...] | None, value: str | None) -> None:
    """Write a request that `lanner run` takes; arguments as of FleetState.reset. Raises BadInput."""
    path = reset_file(Path(settings.memory.filename))
    record = {"owner": macro.fingerprint, "group": group, "value": value, "time": time.time_ns()}
    with or_bad_input(path), os.fdopen(open_private(path, os.O_WRONLY | os.O_APPEND), "a") as file:
        file.write(json.dumps(record) + "\n")


@front_command("list", example="lanner state list\nlanner state list --topic --format json")
@state_options
def list_state(options: Options, *, topic: bool) -> None:
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
                    *(
                        f"{number:,}" if TYPES[row.type].remembers_values else "-"
                        for number in (row.values, row.learning, row.full)
                    ),
                )
                for row in rows
            ],
        )
    elif not options.quiet:
        note("the active rules use no stateful macro.")


@front_command(
    "reset",
    example="lanner state reset new_program\nlanner state reset new_program --group nginx --value /usr/bin/curl",
    formats=(),
)
@click.argument("macro")
@click.option("--group", "groups", multiple=True, metavar="VALUE", help="Only this group; one for each group-by field.")
@click.option("--value", "values", multiple=True, metavar="VALUE", help="Only this value; one for each field.")
@state_options
def reset_state(options: Options, macro: str, groups: tuple[str, ...], values: tuple[str, ...], *, topic: bool) -> None:
    """Make MACRO forget everything, one group, or one value of a group.

    A group of first_seen that was forgotten learns again; a value that was forgotten is new when it comes again.
    """
    settings = options.settings()
    if is_fleet(settings, topic=topic):
        need("processor", "confluent_kafka", "cryptography")
        from lanner.known_state.fleet import FleetState

        connection = reachable_connection(settings)
        chosen = macro_named(_active_plan(settings, connection)[0], macro)
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
    if not correlation.kind.remembers_values or len(values) != len(correlation.value_fields):
        fields = ", ".join(correlation.value_fields) if correlation.kind.remembers_values else "no fields"
        raise BadInput(f"--value: {macro.name} knows values of {fields}: give one for each.")
    if group is None:
        raise BadInput(f"--value: add --group for {', '.join(correlation.group_by)}.")
    return group, combined(values)


@front_command("show", example="lanner state show new_program\nlanner state show new_program --group nginx")
@click.argument("macro")
@click.option("--group", "groups", multiple=True, metavar="VALUE", help="Only this group; one for each group-by field.")
@state_options
def show_values(options: Options, macro: str, groups: tuple[str, ...], *, topic: bool) -> None:
    """Show the values that MACRO knows, by group, with the time of the newest sighting.

    The time is when the broker received the event, rounded down to a 64th of the lookback.
    """
    settings = options.settings()
    source = state_source(settings, topic=topic, quiet=options.quiet)
    chosen = macro_named(source.plan, macro)
    if not chosen.correlation.kind.remembers_values:
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
