"""`lanner hosts`: takes the topics of events and host keys; lists hosts, decides about their keys."""

import json
import sys
import time
from typing import TYPE_CHECKING

import click
from rich.text import Text

from bus.errors.unavailable import BusUnavailable
from lanner.cli.app import NO_RULES, Group, Options, shared_options
from lanner.cli.signals import Signals
from lanner.cli.tables import HOSTS
from lanner.cli.terminal.output import StatusLine, error_line, note
from lanner.cli.terminal.tables import print_table
from lanner.errors import BAD_INPUT
from lanner.installation.libraries import need
from lanner.wiring.kafka import reachable_connection
from schemas.text.printable import printable
from schemas.text.times import iso8601_zulu

if TYPE_CHECKING:
    from bus.connection import Connection
    from lanner.recorder.topic.host_tally import FleetHost

_SLOW_MS = 5000


@click.option("--check", is_flag=True, help="Show only silent hosts; exit with 1 if there is one.")
def _command(options: Options, *, check: bool) -> None:
    """Show the fleet's hosts: silent ones first, then those that stopped cleanly.

    They are found in the retained topic of events. In a large fleet only a sample of it is read: a host that is gone
    may be missed if it was alive for less than half of the time since then. LOST counts the losses reported in the
    last minute, or in the last 20 s of a large fleet; LAG is how long the newest batch took to reach the broker.
    If processors evaluate events late, the last line says how much.
    """
    ctx = click.get_current_context()
    ctx.obj = options
    if ctx.invoked_subcommand is None:
        _show(options, check=check)


def _show(options: Options, *, check: bool) -> None:
    need("processor", "confluent_kafka")
    from lanner.recorder.topic.hosts import find_hosts

    settings = options.settings()
    connection = reachable_connection(settings)
    status = StatusLine(sys.stderr, enabled=not options.quiet)
    now = time.time_ns() // 1_000_000
    with Signals() as signals:
        hosts = find_hosts(connection, now, lambda: signals.stop, status.show)
        status.clear()
        was_stopped = signals.stop

    def is_silent(host: "FleetHost") -> bool:
        return now - host.seen > settings.hosts.silent_seconds * 1000 and not host.is_stopped

    hosts.sort(key=lambda host: (not is_silent(host), not host.is_stopped, host.name))
    silent = [host for host in hosts if is_silent(host)]
    shown = silent if check else hosts
    if settings.json_output:
        for host in shown:
            sys.stdout.write(json.dumps(_record(host, silent=is_silent(host))) + "\n")
    elif shown:
        print_table(
            ("HOST", "SEEN", "VERSION", "KERNEL", "LOST", "LAG", "RULES"),
            [_row(host, now, silent=is_silent(host)) for host in shown],
        )
    sys.stdout.flush()
    if was_stopped and not options.quiet:
        note("the search was stopped early: hosts may be missing.")
    elif not hosts and not options.quiet:
        note("the topic retains no events of any host.")
    if not options.quiet and (late := _lateness(connection, settings.lag.seconds)):
        note(late, "warning")
    if check and silent:
        error_line(f"{len(silent)} of {len(hosts)} hosts are silent.")
        raise click.exceptions.Exit(BAD_INPUT)


def _lateness(connection: "Connection", behind_seconds: float) -> str:
    """Return how late events are evaluated, as a sentence; empty if they are evaluated in time."""
    from lanner.operations.pipeline.groups import group_queues
    from lanner.operations.pipeline.queues import lateness

    try:
        return lateness(group_queues(connection), behind_seconds, time.time())
    except BusUnavailable as error:
        return f"how late events are evaluated is not known: {error}"


def _row(host: "FleetHost", now: int, *, silent: bool) -> list[str | Text]:
    state = f"{_ago(now - host.seen)} ago"
    if silent:
        state += ", silent"
    elif host.is_stopped:
        state += ", stopped"
    return [
        _styled(host.name, "bold red" if silent else ""),
        _styled(state, "bold red" if silent else ""),
        host.version,
        host.kernel,
        _styled(f"{host.lost:,}", "yellow" if host.lost else ""),
        _styled(_ago(host.lag), "yellow" if host.lag > _SLOW_MS else ""),
        host.rules or "-",
    ]


def _styled(text: str, style: str) -> str | Text:
    return Text(printable(text), style) if style else text


def _record(host: "FleetHost", *, silent: bool) -> dict[str, object]:
    return {
        "host": host.name,
        "host_id": host.id,
        "seen": iso8601_zulu(host.seen * 1_000_000),
        "state": "silent" if silent else "stopped" if host.is_stopped else "live",
        "version": host.version,
        "kernel": host.kernel,
        "lost": host.lost,
        "lag_seconds": host.lag / 1000,
        "rules": host.rules,
    }


def _ago(milliseconds: int) -> str:
    seconds = max(milliseconds, 0) / 1000
    for unit, size in (("d", 86_400), ("h", 3_600), ("m", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f}{unit}"
    return f"{seconds:.1f}s" if seconds < 10 else f"{seconds:.0f}s"


command: click.Group = click.group(
    "hosts",
    cls=Group,
    lazy=HOSTS,
    invoke_without_command=True,
    example="lanner hosts\nlanner hosts --check     (for cron: exits with 1 if a host is silent)\n"
    "lanner hosts enroll ID KEY     (as `lanner collector key` prints them on the host)",
)(shared_options(_command, without=NO_RULES))
