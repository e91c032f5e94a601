"""Decides whose state a command reads or changes: that of a fleet, or of this host's `lanner run`."""

import json
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from lanner.cli.signals import Signals
from lanner.cli.terminal.output import note
from lanner.errors import BadInput
from lanner.installation.libraries import need
from lanner.known_state.tables import read_state_file
from lanner.ruleset.compile import load_detection
from lanner.settings import Settings
from lanner.settings.sections.model import KafkaSettings
from lanner.wiring.kafka import reachable_connection
from lanner.wiring.single_host.values_file import reset_file
from processor.correlation.plan.split import Plan, StatefulMacro
from processor.correlation.state.window_state import WindowState


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
    """Read the state. Raises BadInput.

    Args:
        settings: name the broker, or the state file.
        topic: whether a fleet was named.
        quiet: don't report which file is read.
    """
    if not is_fleet(settings, topic=topic):
        path = Path(settings.memory.filename)
        source = StateSource(read_state_file(path), load_detection(settings, warnings=False).ruleset.plan)
        if not quiet:
            note(f"reading this host's own state in {path}; --topic reads a fleet's.")
        return source
    need("processor", "confluent_kafka", "cryptography")
    from lanner.known_state.fleet import FleetState, active_plan  # noqa: PLC0415

    connection = reachable_connection(settings)
    plan, _ = active_plan(settings, connection)
    with Signals() as signals:
        state, unreadable = FleetState(connection).read(lambda: signals.stop)
    if unreadable:
        note(f"{unreadable:,} records are of another release.")
    return StateSource(state, plan)


def request_reset(settings: Settings, macro: StatefulMacro, group: tuple[str, ...] | None, value: str | None) -> None:
    """Write a request that `lanner run` takes; arguments as of FleetState.reset. Raises BadInput."""
    path = reset_file(Path(settings.memory.filename))
    record = {"owner": macro.fingerprint, "group": group, "value": value, "time": time.time_ns()}
    try:
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW, 0o600), "a") as file:
            file.write(json.dumps(record) + "\n")
    except OSError as error:
        raise BadInput(f"{path}: {error.strerror}.") from None
