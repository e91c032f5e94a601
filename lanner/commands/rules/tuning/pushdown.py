"""`lanner rules pushdown`: shows which events the rules make the kernel send, and which rules cost most."""

import json
from collections.abc import Iterator
from pathlib import Path

import click

from collector.events.system_calls import EVERYTHING
from lanner.cli.app import Options, front_command
from lanner.cli.options.times import parse_duration_ms
from lanner.cli.terminal.output import note
from lanner.cli.terminal.tables import print_table
from lanner.errors import BadInput
from lanner.ruleset.compile import CompiledDetection, load_detection
from processor.language.ast import Node
from processor.pushdown.cost import EventTypeCost, EventTypeCounts, count, shares
from schemas.batch import EventBatch
from schemas.catalogue.sources import SYSCALL
from schemas.codec import BadBatch
from schemas.encoding.recording import read_recording

_WIDEST_LENGTH = 100
_ALWAYS_COME = frozenset({"execve", "execveat", "procexit"})
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
def command(options: Options, recording: Path | None, live: str | None) -> None:
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
        count(_batches(recording), costs, counts)
    if seconds is not None:
        from lanner.wiring.pushdown.live_counts import count_live

        counts, lost = count_live(settings, detection, costs, seconds, quiet=options.quiet)
    if options.format == "json":
        click.echo(json.dumps([_row(event, each, counts.get(event)) for event, each in costs.items()], indent=2))
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
    rows = [_counted(event, each, counts[event]) for event, each in _by_cost(costs, counts) if _is_seen(event, counts)]
    print_table(("EVENT", "SEEN", "SENT", "LEFT OUT", "MOSTLY FOR", "BECAUSE THE KERNEL CAN'T EVALUATE"), rows)
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


def _batches(recording: Path) -> Iterator[EventBatch]:
    try:
        yield from read_recording(recording)
    except OSError as error:
        raise BadInput(f"{recording}: {error.strerror}.") from None
    except BadBatch as error:
        raise BadInput(f"{error}.") from None


def _by_cost(
    costs: dict[str, list[EventTypeCost]], counts: dict[str, EventTypeCounts]
) -> list[tuple[str, list[EventTypeCost]]]:
    return sorted(costs.items(), key=lambda item: -counts.get(item[0], EventTypeCounts()).sent)


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
    return dearest.rule, _shortened(dearest.widest)


def _shortened(text: str) -> str:
    return text if len(text) <= _WIDEST_LENGTH else f"{text[:_WIDEST_LENGTH]}…"


def _counted(event: str, each: list[EventTypeCost], of_event: EventTypeCounts) -> tuple[str, ...]:
    left_out = of_event.seen - of_event.sent
    share = f"{100 * left_out / of_event.seen:.1f} %" if of_event.seen else ""
    return (event, f"{of_event.seen:,}", f"{of_event.sent:,}", share, *_dearest(event, each, of_event))


def _row(event: str, each: list[EventTypeCost], of_event: EventTypeCounts | None) -> dict[str, object]:
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
