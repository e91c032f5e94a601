"""`lanner rules cost`: measures what draft rules cost, before they are published."""

import json
import time
from dataclasses import asdict, replace
from pathlib import Path

import click

from lanner.cli.app import Options, front_command
from lanner.cli.options.source import chosen_recording, source_options
from lanner.cli.options.times import time_ms
from lanner.cli.terminal.tables import print_table
from lanner.errors import BadInput
from lanner.recorder.evaluation.measured_costs import MeasuredCosts, measured_costs
from lanner.recorder.evaluation.rule_costs import CostComparison, RuleCost, VersionCost
from lanner.ruleset.compile import CompiledDetection, detection_of, load_detection
from lanner.ruleset.sources import find_rules
from lanner.settings import Settings
from schemas.text.counts import count_of
from schemas.text.printable import printable
from schemas.text.times import date_and_time_seconds

_MIB = 1 << 20


@front_command(
    "cost",
    example="lanner rules cost rules/ draft.yaml --since 7d\n"
    "sudo lanner rules cost draft.yaml --file /var/lib/lanner/kept --format json",
)
@click.argument("paths", nargs=-1, required=True, metavar="PATH…")
@click.option(
    "--since", metavar="TIME", default="24h", show_default=True, help="A duration before now, or a date and time."
)
@source_options
def command(options: Options, paths: tuple[str, ...], since: str, file: Path | None, *, topic: bool) -> None:
    """Measure what the rules at PATH cost, compared with the active rules, on stored events.

    Both versions are evaluated on the same events: alerts a day, by rule and host; events that the kernel sends, and
    their bytes; processor time of an event; windows and their size. The active rules are the published version of a
    fleet, else those of the settings. Events that weren't collected can't be counted: the last lines name them.
    """
    settings = options.settings()
    draft = detection_of(settings, find_rules(replace(settings, rules_files=paths)), warnings=not options.quiet)
    recording = chosen_recording(settings, file, topic=topic, quiet=options.quiet)
    first = time_ms(since, "--since", time.time_ns() // 1_000_000) or 0
    before = _active(settings, recording)
    measured = measured_costs(settings, before, draft, recording, first, quiet=options.quiet)
    if not measured.costs.events:
        why = "no events of this time are stored" if measured.is_complete else "stopped early"
        raise BadInput(f"{why}, so nothing was measured.")
    if settings.json_output:
        click.echo(json.dumps(_record(measured)))
    else:
        _print(measured, before.origin)


def _active(settings: Settings, recording: Path | None) -> CompiledDetection:
    if recording is None:
        from lanner.ruleset.published.running import running_version

        _, published = running_version(settings)
        if published is not None:
            return published
    return load_detection(settings, warnings=False)


def _print(measured: MeasuredCosts, origin: str) -> None:
    costs = measured.costs
    before, draft = _figures(costs, costs.before), _figures(costs, costs.draft)
    print_table(
        ("COST", "ACTIVE", "DRAFT"),
        [(name, _shown(before[name]), _shown(draft[name])) for name in before],
    )
    if costs.rules:
        click.echo()
        print_table(
            ("RULE", "ACTIVE: ALERTS", "DRAFT: ALERTS", "HOSTS", "MOST ON"),
            [_row(rule) for rule in costs.rules],
        )
    start, end = (date_and_time_seconds(each * 1_000_000) for each in (costs.first, costs.last))
    click.echo(
        f"\nEvaluated: {count_of(costs.events, 'event')} of {count_of(costs.hosts, 'host')}, {start} to {end}. "
        f"Active: {printable(origin)}."
    )
    if costs.is_short:
        click.echo("That is less than an hour, so the figures for a day may be far off.")
    for remark in measured.remarks:
        click.echo(f"not counted: {printable(remark)}")


def _figures(costs: CostComparison, version: VersionCost) -> dict[str, float]:
    sent = costs.a_day(sum(version.sent.values()))
    return {
        "alerts a day": costs.a_day(version.alerts),
        "events sent a day": sent,
        "MiB sent a day, uncompressed": sent * costs.bytes_per_event / _MIB,
        "ns of processor time for an event": version.nanoseconds / max(costs.events, 1),
        "windows, repeats and known values, maximum": version.groups,
        "bytes of state": version.state_bytes,
    }


def _row(rule: RuleCost) -> tuple[str, ...]:
    most = f"{rule.busiest} ({rule.of_busiest:,})" if rule.busiest else ""
    return rule.rule, f"{rule.before:,}", f"{rule.draft:,}", f"{rule.hosts:,}", most


def _shown(value: float) -> str:
    return f"{value:,.1f}" if value < 10 and value % 1 else f"{value:,.0f}"


def _record(measured: MeasuredCosts) -> dict[str, object]:
    return {**asdict(measured.costs), "not_counted": measured.remarks}
