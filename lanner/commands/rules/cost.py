"""`lanner rules cost` and `pushdown`: the cost of draft rules, and the events that rules make the kernel send."""

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

import click

from collector.events.system_calls import EVERYTHING
from foundation.quantities import date_and_time_seconds
from foundation.text import count_of, printable
from lanner.cli.app import Options, front_command
from lanner.cli.options import alone_option, chosen_recording, parse_duration_ms, progress, source_options, time_ms
from lanner.errors import BadInput
from lanner.recorder.store import EventRange
from lanner.ruleset.compile import CompiledDetection
from lanner.ruletest.given import recorded_batches
from lanner.settings import Settings
from lanner.terminal.output import note
from lanner.terminal.tables import print_table
from lanner.tuning.costs import CostComparison, MeasuredCosts, RuleCost, VersionCost, measured_costs
from lanner.wiring.rules import detection_of, find_draft, load_detection
from lanner.wiring.stages.collector import make_collector
from lanner.wiring.stores import open_events
from processor.language.ast import Node
from processor.pushdown.cost import EventTypeCost, EventTypeCounts, count, shares
from schemas.batch import EventBatch
from schemas.catalog.fields import SYSCALL
from schemas.catalog.system_calls import EXECS

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
@alone_option
@source_options
def cost(options: Options, paths: tuple[str, ...], since: str, file: Path | None, *, topic: bool, alone: bool) -> None:
    """Measure what the rules at PATH cost, compared with the active rules, on stored events.

    The rules at PATH are loaded after the active ones or those of --rules, as `lanner rules validate` does.
    Both versions are evaluated on the same events: alerts a day, by rule and host; events that the kernel sends, and
    their bytes; processor time of an event; windows and their size. The active rules are the published version of a
    fleet, else those of the settings. Events that weren't collected can't be counted: the last lines name them.
    """
    settings = options.settings()
    draft = detection_of(settings, find_draft(settings, paths, alone=alone), warnings=not options.quiet)
    recording = chosen_recording(settings, file, topic=topic, quiet=options.quiet)
    first = time_ms(since, "--since", time.time_ns() // 1_000_000) or 0
    before = _active(settings, recording)
    measured = measure(settings, before, draft, recording=recording, since=first, quiet=options.quiet)
    if not measured.costs.events:
        why = "no events of this time are stored" if measured.is_complete else "stopped early"
        raise BadInput(f"{why}, so nothing was measured.")
    if settings.json_output:
        click.echo(json.dumps({**asdict(measured.costs), "not_counted": measured.remarks}))
    else:
        _print(measured, before.origin)


def measure(
    settings: Settings,
    before: CompiledDetection,
    draft: CompiledDetection,
    *,
    recording: Path | None,
    since: int,
    quiet: bool,
) -> MeasuredCosts:
    """Evaluate two versions on stored events, maybe none; Ctrl-C ends it early, with what was read until then.

    recording is None for the topic of a fleet; since is the earliest arrival, ms since the epoch.

    Raises:
        BadInput: The recording can't be read.
        BusUnavailable: No broker, or no such topic.
    """
    with progress(quiet=quiet, restores=True) as search:
        batches = open_events(settings, recording, note).batches(EventRange(since), search.stop)
        always = settings.collector.always_sent
        return measured_costs(before, draft, always, batches, since, show=search.show, stop=search.stop)


def _active(settings: Settings, recording: Path | None) -> CompiledDetection:
    if recording is None:
        from lanner.wiring.published import running_version

        _, published = running_version(settings)
        if published is not None:
            return published
    return load_detection(settings, warnings=False)


def _print(measured: MeasuredCosts, origin: str) -> None:
    costs = measured.costs
    before, draft = _figures(costs, costs.before), _figures(costs, costs.draft)
    print_table(("COST", "ACTIVE", "DRAFT"), [(name, _shown(before[name]), _shown(draft[name])) for name in before])
    if costs.rules:
        click.echo()
        print_table(
            ("RULE", "ACTIVE: ALERTS", "DRAFT: ALERTS", "HOSTS", "MOST ON"), [_row(rule) for rule in costs.rules]
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


_WIDEST_LENGTH = 100
_ALWAYS_COME = frozenset({*EXECS, "procexit"})
_ALWAYS = "(always sent)"


@front_command(
    "pushdown",
    example="lanner rules pushdown\nlanner -r my_rules.yaml rules pushdown --recording ordinary.avro\n"
    "sudo lanner rules pushdown --live 30s",
)
@click.option(
    "--recording",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Count how much of each event type is left out of a recording of `lanner record`.",
)
@click.option("--live", metavar="TIME", help="Count on this host for this long (10s, 5m) or until Ctrl-C; needs root.")
def pushdown(options: Options, recording: Path | None, live: str | None) -> None:
    """Show which event types the rules enable, and how much of each is sent.

    The kernel drops events that can't match any rule. If the kernel can evaluate too little of a condition, all events
    of the type are sent: the table names the rule and the part of its condition that causes it. With --recording, the
    shares are counted; events that depend on data a recording lacks, such as the directory that a relative path starts
    from, count as sent. With --live, the kernel counts what it drops, by event type.
    """
    if recording is not None and live is not None:
        raise click.UsageError("--recording and --live exclude each other.")
    seconds = None if live is None else parse_duration_ms(live, "--live") / 1000
    settings = options.settings()
    detection = load_detection(settings, warnings=False)
    costs = shares(_named(detection), sorted(detection.event_types & EVERYTHING))
    counts: dict[str, EventTypeCounts] = {}
    lost = 0
    if recording is not None:
        count(recorded_batches(recording), costs, counts)
    if seconds is not None:
        counts, lost = count_live(settings, detection, costs, seconds, quiet=options.quiet)
    if options.format == "json":
        click.echo(
            json.dumps([_pushdown_row(event, each, counts.get(event)) for event, each in costs.items()], indent=2)
        )
        return
    if recording is None and live is None:
        kinds = [(event, _sent(each), str(len(each)), *_dearest(event, each)) for event, each in costs.items()]
        print_table(("EVENT", "SENT", "RULES", "MOSTLY FOR", "BECAUSE THE KERNEL CAN'T EVALUATE"), kinds)
        _warn_of_broad_rules(costs)
        if not options.quiet:
            note(
                "to see how much that is, count a recording's events by --recording FILE, or this host's by --live 30s."
            )
        return
    seen, sent = (sum(getattr(each, name) for each in counts.values()) for name in ("seen", "sent"))
    if recording is not None and not seen:
        raise BadInput(f"{recording}: none of its events has a type that these rules select.")
    rows = [(event, each, counts[event]) for event, each in costs.items() if _is_seen(event, counts)]
    rows.sort(key=lambda row: -row[2].sent)
    print_table(
        ("EVENT", "SEEN", "SENT", "LEFT OUT", "MOSTLY FOR", "BECAUSE THE KERNEL CAN'T EVALUATE"),
        [_counted(*row) for row in rows],
    )
    _warn_of_broad_rules(costs)
    if unseen := [event for event in costs if not _is_seen(event, counts)]:
        click.echo(f"Not seen: {', '.join(unseen)}")
    share = f", {100 * (seen - sent) / seen:.1f} % left out" if seen else ""
    click.echo(f"{seen:,} events of these types, {sent:,} sent{share}{f', {lost:,} lost' if lost else ''}")


def _named(detection: CompiledDetection) -> list[tuple[str, Node]]:
    ruleset = detection.ruleset
    rules = list(zip(ruleset.detector.rule_names, ruleset.detector.conditions, strict=True))
    rules += [
        (rule.name, term.condition) for rule in ruleset.plan.rules if rule.source == SYSCALL for term in rule.terms
    ]
    return rules + [
        (f"macro {macro.name}", term.condition)
        for macro in ruleset.plan.macros
        for leg in macro.legs
        if SYSCALL in leg.sources
        for term in leg.terms
    ]


def _is_seen(event: str, counts: dict[str, EventTypeCounts]) -> bool:
    return event in counts and counts[event].seen > 0


def _warn_of_broad_rules(costs: dict[str, list[EventTypeCost]]) -> None:
    """Warn of rules that enable all event types."""
    if costs.keys() != EVERYTHING:
        return
    for rule in sorted(set.intersection(*({share.rule for share in each} for each in costs.values()))):
        note(f"rule {rule!r} enables all {len(costs)} event types: restrict it with evt.type.", "warning")


def _sent(each: list[EventTypeCost]) -> str:
    return "all" if any(share.takes_all for share in each) else "some"


def _dearest(event: str, each: list[EventTypeCost], of_event: EventTypeCounts | None = None) -> tuple[str, str]:
    """Return the rule that most events are sent for, and the reason."""
    if event in _ALWAYS_COME:
        return "", _ALWAYS
    dearest = max(each, key=lambda share: (of_event.by_rule[share.rule] if of_event else 0, share.takes_all))
    if not dearest.takes_all and not (of_event and of_event.by_rule[dearest.rule]):
        return "", ""
    widest = dearest.widest
    return dearest.rule, widest if len(widest) <= _WIDEST_LENGTH else f"{widest[:_WIDEST_LENGTH]}…"


def _counted(event: str, each: list[EventTypeCost], of_event: EventTypeCounts) -> tuple[str, ...]:
    left_out = of_event.seen - of_event.sent
    share = f"{100 * left_out / of_event.seen:.1f} %" if of_event.seen else ""
    return (event, f"{of_event.seen:,}", f"{of_event.sent:,}", share, *_dearest(event, each, of_event))


def _pushdown_row(event: str, each: list[EventTypeCost], of_event: EventTypeCounts | None) -> dict[str, object]:
    row: dict[str, object] = {
        "event": event,
        "sent": _sent(each),
        "rules": [
            {"rule": share.rule, "takes_all": share.takes_all, "because": share.widest}
            | ({} if of_event is None else {"sent": of_event.by_rule[share.rule]})
            for share in each
        ],
    }
    return row if of_event is None else row | {"seen": of_event.seen, "passed": of_event.sent}


_POLL_SECONDS = 0.2


def count_live(
    settings: Settings,
    detection: CompiledDetection,
    costs: Mapping[str, Sequence[EventTypeCost]],
    seconds: float,
    *,
    quiet: bool = False,
) -> tuple[dict[str, EventTypeCounts], int]:
    """Watch this host as `lanner run` would, for so many seconds or until Ctrl-C.

    Returns:
        Counts by event type, and the number of lost events.

    Raises:
        EnvironmentUnsupported: This host doesn't support it.
    """
    counts: dict[str, EventTypeCounts] = {}

    def take(batch: EventBatch) -> None:
        count([batch], costs, counts)

    collector = make_collector(settings, detection.event_types, take, pushdown_filter=detection.pushdown_filter)
    filtered: Mapping[str, int] = {}
    with progress(quiet=quiet) as search:
        try:
            collector.start()
            if not quiet:
                note(f"counting on {collector.hostname} for {seconds:g} s. Stop: Ctrl-C")
            end = time.monotonic() + seconds
            while not search.stop() and (rest := end - time.monotonic()) > 0:
                collector.poll(min(_POLL_SECONDS, rest))
                sent = sum(each.seen for each in counts.values())
                left_out = collector.counters()["filtered"]
                search.show(f"{rest:.0f} s left: {sent:,} events sent, {left_out:,} left out")
            filtered = collector.filtered()
        finally:
            collector.stop()
    for event in costs:
        of_event = counts.setdefault(event, EventTypeCounts())
        # What arrived was sent, even if the evaluation here, which sees less than the kernel, disagrees.
        of_event.sent = of_event.seen
        of_event.seen += filtered.get(event, 0)
    return counts, sum(collector.losses.values())
