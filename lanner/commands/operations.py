"""`lanner doctor`, `status` and `sizing`: checks of this host, how current detection is, and what a fleet needs."""

import dataclasses
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

import click
from rich.text import Text

from foundation.quantities import iso8601_zulu, seconds_text
from foundation.text import printable
from lanner.cli.app import NO_RULES, Options, front_command
from lanner.cli.options import progress
from lanner.errors import ENVIRONMENT_LACKS, BadInput
from lanner.libraries import need
from lanner.operations import doctor
from lanner.operations.freshness import Finding, Freshness
from lanner.operations.sizing import GB, MB, FleetPlan, PartNeeds, Prices, Sizing, processor_cores, size_fleet
from lanner.settings.sections.model import KafkaSettings
from lanner.terminal.output import note
from lanner.terminal.tables import print_table

MARKS: dict[doctor.State, tuple[str, str]] = {
    "ok": ("ok", "green"),
    "missing": ("MISSING", "bold red"),
    "note": ("note", "yellow"),
}
_MOST_ROWS = 30
_NS = 1_000_000_000


@front_command("doctor", example="sudo lanner doctor")
def diagnose(options: Options) -> Literal[0, 3]:
    """Check what this host supports and what the settings use, and how to fix what is missing.

    The settings name rule files, sinks, container runtimes, ports, folders and the broker. Nothing is sent. Exits with
    3 if something is MISSING: live detection can't work, or a sink, a port, a disk or the configured broker can't be
    used.
    """
    found = list(_findings(options))
    able = all(finding.state != "missing" for finding in found)
    if options.format == "json":
        checks = [dataclasses.asdict(finding) for finding in found]
        print(json.dumps({"ok": able, "checks": checks}, indent=2))  # noqa: T201
    else:
        rows = [
            (each.subject, Text(*MARKS[each.state]), f"{each.found}. {each.remedy}" if each.remedy else each.found)
            for each in found
        ]
        print_table(("SUBJECT", "STATE", "FOUND, AND REMEDY"), rows)
        print("This host can run Lanner." if able else "Lanner can't work here as configured yet.")  # noqa: T201
    return 0 if able else ENVIRONMENT_LACKS


def _findings(options: Options) -> Iterator[doctor.DoctorCheck]:
    try:
        settings = options.settings()
    except BadInput as error:
        yield from doctor.findings()
        found = error.messages[0].splitlines()[0].rstrip(".")
        yield doctor.DoctorCheck("settings", "missing", found, "lanner config check shows every error.")
        return
    collector = settings.collector
    sockets = doctor.ContainerSockets(
        Path(collector.docker_socket), Path(collector.podman_socket), tuple(map(Path, collector.cri_sockets))
    )
    yield from doctor.findings(sockets)
    try:
        from lanner.wiring.check import settings_findings
    except ModuleNotFoundError as error:
        # A collector's installation need not have the libraries of the other stages.
        found = f"not checked: the {error.name} library is not installed"
        yield doctor.DoctorCheck("settings", "note", found, "Run this where the other stages are installed.")
        return
    yield from settings_findings(settings)


_DEFAULTS = FleetPlan(hosts=1, events_per_host=0)
_BATCHES_THAT_COST_MOST = 0.5
"""Share of the processors' time for batches, from which larger batches are worth a note."""


def _number(
    *names: str, kind: click.ParamType, text: str, default: float | None = None, metavar: str = "N"
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Return an option that takes a number; without a default it is required."""
    given: dict[str, Any] = (
        {"required": True} if default is None else {"default": default, "show_default": bool(default)}
    )
    return click.option(*names, type=kind, metavar=metavar, help=text, **given)


@front_command(
    "sizing",
    example=(
        "lanner sizing --hosts 10000 --events-per-host 20 --batch-ms 1000\n"
        "lanner sizing --hosts 500 --events-per-host 100 --core-price 25 --disk-price 0.08"
    ),
    without=NO_RULES,
)
@_number("--hosts", kind=click.IntRange(1, 10_000_000), text="Hosts with a collector.")
@_number(
    "--events-per-host",
    kind=click.FloatRange(0, 1_000_000),
    text="Events that a host sends a second, on average over the day.",
)
@_number("--batch-ms", kind=click.IntRange(1, 60_000), default=_DEFAULTS.batch_ms, text="The setting kafka.batch_ms.")
@_number(
    "--retention-hours",
    kind=click.FloatRange(0.1, 10_000),
    default=_DEFAULTS.retention_hours,
    text="How long events are retained.",
)
@_number(
    "--replication-factor",
    "replicas",
    kind=click.IntRange(1, 100),
    default=_DEFAULTS.replicas,
    text="Copies of each message.",
)
@_number(
    "--alerts-per-host",
    kind=click.FloatRange(0, 1_000_000),
    default=_DEFAULTS.alerts_per_host,
    text="Alerts that a host raises a day.",
)
@_number(
    "--archive-days",
    kind=click.FloatRange(0, 100_000),
    default=_DEFAULTS.archive_days,
    text="How long an archive stores events and alerts; by default there is none.",
)
@_number(
    "--load", kind=click.FloatRange(0.05, 1), default=_DEFAULTS.load, metavar="SHARE", text="Planned use of each core."
)
@_number("--core-price", kind=click.FloatRange(0), default=0.0, text="Price of a core for a month.")
@_number("--disk-price", kind=click.FloatRange(0), default=0.0, text="Price of a GB of disk a month.")
@_number("--network-price", kind=click.FloatRange(0), default=0.0, text="Price of a GB of traffic.")
def sizing(options: Options, *, core_price: float, disk_price: float, network_price: float, **planned: Any) -> None:
    """Compute the cores, memory, disk and network that a fleet needs, from measured costs.

    Nothing is read or sent. `rate(lanner_events_total[1d])` of a fleet's processors, divided by its hosts, is
    --events-per-host. The result is for independent events; hosts whose events come in bursts send fewer batches and
    need less. docs/sizing.md explains each figure.
    """
    plan = FleetPlan(**planned)
    prices = Prices(core_price, disk_price, network_price)
    sizing = size_fleet(plan, prices)
    if options.format == "json":
        click.echo(json.dumps({"plan": dataclasses.asdict(plan), **dataclasses.asdict(sizing)}, indent=2))
        return
    print_table(("PART", "INSTANCES", "CORES IN USE", "MEMORY", "DISK", "SENDS"), [_row(part) for part in sizing.parts])
    click.echo(
        f"\n{sizing.events:,.0f} events and {sizing.batches:,.0f} batches a second; {sizing.partitions} partitions."
    )
    click.echo(
        f"Cores to plan for brokers, processors{', notifiers and archive' if plan.archive_days else ' and notifiers'}, "
        f"{plan.load:.0%} in use: "
        f"{_rounded(sizing.planned_cores)}."
    )
    if prices != Prices():
        click.echo(f"Cost a month: {sizing.cost_month:,.0f}.")
    if not options.quiet:
        _advise(sizing, plan.batch_ms)


def _row(part: PartNeeds) -> tuple[str, ...]:
    return (
        part.name,
        f"{part.instances:,}",
        _rounded(part.cores),
        _bytes(part.memory_bytes),
        _bytes(part.disk_bytes) if part.disk_bytes else "",
        f"{_bytes(part.sent_bytes)}/s",
    )


def _advise(sizing: Sizing, batch_ms: int) -> None:
    of_batches = processor_cores(sizing.batches, 0, 0)
    if batch_ms < 1000 and sizing.parts[2].cores > 1 and of_batches > _BATCHES_THAT_COST_MOST * sizing.parts[2].cores:
        note(
            f"{of_batches / sizing.parts[2].cores:.0%} of the processors' time is spent on batches, whatever is in "
            "them. With --batch-ms 1000 (kafka.batch_ms) they are fewer, and alerts come up to a second later."
        )


def _rounded(number: float) -> str:
    return f"{number:,.0f}" if number >= 10 else f"{number:.1f}" if number >= 1 else f"{number:.2f}"


def _bytes(number: float) -> str:
    for size, unit in ((GB * 1000, "TB"), (GB, "GB"), (MB, "MB")):
        if number >= size:
            return f"{_rounded(number / size)} {unit}"
    return f"{_rounded(number / 1000)} kB"


@front_command(
    "status",
    example="lanner status\nlanner status --format json\nlanner status -q || echo 'detection is late, blind or stuck'",
    without=NO_RULES,
)
def status(options: Options) -> Literal[0, 1]:
    """Show whether detection is current: of the fleet if a broker is configured, else of `lanner run` on this host.

    One screen: until when events are evaluated, silent hosts and those that lost events in the last minute, sinks that
    fail or are late, and full disks. Exits with 0 if all is in order, with 1 if something is a problem or `lanner run`
    doesn't run, and with 3 if no broker answers. With -q, only problems are shown.
    """
    settings = options.settings()
    if settings.kafka == KafkaSettings():
        from lanner.wiring.freshness import reported_freshness

        where, current = "this host", reported_freshness(settings)
    else:
        need("processor", "confluent_kafka")
        from lanner.wiring.freshness import fleet_freshness
        from lanner.wiring.kafka import reachable_connection

        connection = reachable_connection(settings)
        where = f"the fleet at {connection.bootstrap_servers}"
        with progress(quiet=options.quiet) as search:
            current = fleet_freshness(settings, connection, search.stop, search.show)
    if settings.json_output:
        evaluated = None if current.evaluated is None else iso8601_zulu(int(current.evaluated * _NS))
        record = asdict(current) | {"read_at": iso8601_zulu(int(current.read_at * _NS)), "evaluated": evaluated}
        sys.stdout.write(json.dumps(record | {"ok": not current.problems}) + "\n")
    else:
        if not options.quiet:
            sys.stdout.write(f"{_headline(current, where)}\n")
        _print(current.problems if options.quiet else current.findings)
    return 1 if current.problems else 0


def _headline(current: Freshness, where: str) -> str:
    if current.evaluated is None:
        return f"Events of {where}: until when they are evaluated is not known."
    age = max(0.0, current.read_at - current.evaluated)
    until = iso8601_zulu(int(current.evaluated * _NS))[11:19]
    how = f"{seconds_text(age)} behind" if current.is_late else "current"
    return f"Events of {where} are evaluated up to {until} UTC: {how}."


def _print(findings: Sequence[Finding]) -> None:
    shown = findings
    if len(findings) > _MOST_ROWS:
        shown = sorted(findings, key=lambda each: not each.is_problem)[:_MOST_ROWS]
    if shown:
        print_table(("SUBJECT", "NAME", "STATE", "FOUND"), [_finding_row(each) for each in shown])
    if len(findings) > len(shown):
        sys.stdout.write(f"… and {len(findings) - len(shown)} more; --format json has all.\n")


def _finding_row(finding: Finding) -> tuple[str, str, Text, str]:
    state = Text("PROBLEM", "bold red") if finding.is_problem else Text("ok", "green")
    return finding.subject, printable(finding.name), state, finding.text
