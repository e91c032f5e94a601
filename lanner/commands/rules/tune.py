"""`lanner rules tune`: proposes exceptions from alerts."""

import json
import os
import time
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path

import click

from bus.connection import BusUnavailable
from foundation.text import count_of, printable
from lanner.cli.app import Options, front_command
from lanner.cli.options import chosen_recording, draft_option, progress, source_options, time_ms, write_text
from lanner.commands.rules.backtest import DemandedBacktest, compare, demanded_backtest
from lanner.errors import BadInput, or_bad_input
from lanner.recorder.store import EventRange
from lanner.ruleset.active import RuleChoices
from lanner.ruleset.load import load_or_fail
from lanner.ruletest.reading import test_file_of
from lanner.settings import Settings
from lanner.terminal.output import note
from lanner.tuning.backtest import BacktestRun, days_text
from lanner.tuning.patch import Harm, HarmTrial, patch_text, suite_text, witness_cases
from lanner.tuning.proposals import MIN_WITNESSES, Proposal, TunedAlert, propose
from lanner.wiring.rules import detection_of, find_draft
from lanner.wiring.stores import open_events
from processor.loading import RuleFile
from schemas.alert import Alert, BadAlert, Repeats

_MAX_ALERTS = 500_000
_LONGEST_LINE = 1 << 20
"""Bytes of an alert in a file."""
_DATABASE = click.Path(path_type=Path, exists=True, dir_okay=False)

_Tried = tuple[Proposal, Harm]
_Source = Callable[[Callable[[], bool]], Iterable[Alert]]
"""Yields alerts until its argument returns true."""


@front_command(
    "tune",
    example="sudo lanner rules tune\n"
    "lanner rules tune --topic --since 7d --console /var/lib/lanner/console/alerts.db --write quiet.yaml\n"
    "lanner rules tune --file /var/lib/lanner-archive --backtest /var/lib/lanner-archive --since 30d",
)
@click.option(
    "--since", metavar="TIME", default="7d", show_default=True, help="A duration before now, or a date and time."
)
@click.option("--rule", metavar="NAME", help="Only this rule.")
@click.option(
    "--witnesses",
    type=click.IntRange(2),
    default=MIN_WITNESSES,
    show_default=True,
    help="Alerts that an exception must quiet, at least.",
)
@click.option(
    "--console",
    type=_DATABASE,
    metavar="FILE",
    help="alerts.db of `lanner console`: alerts that people commented or assigned count as real. Without --topic and "
    "--file, all its alerts are read.",
)
@click.option(
    "--write",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Write the harmless ones as a rule file, with tests.",
)
@click.option(
    "--alerts",
    "given",
    type=_DATABASE,
    metavar="FILE",
    help="Read these alerts, all of them: JSON, one a line, as `file_output` and Falco write it.",
)
@click.option(
    "--backtest",
    "store",
    metavar="PATH",
    help="Count what the changed rules would have raised since then, before and after, on this archive or recording; "
    "topic: on a fleet's retained events.  [default: published_rules.backtest.store]",
)
@draft_option
@source_options
def command(
    options: Options,
    *,
    since: str,
    rule: str | None,
    witnesses: int,
    console: Path | None,
    write: Path | None,
    store: str | None,
    file: Path | None,
    topic: bool,
    given: Path | None,
    draft: tuple[str, ...],
) -> None:
    """Propose exceptions for the rules with most alerts, with proof of what each would hide.

    An exception is what many alerts share: the program and its object or place, never the program's name alone. Each is
    tried on the rules' tests, on recorded attacks, and on the alerts that people marked as real. With --backtest,
    stored events show what the changed rules would have raised before and after. Nothing is applied: read what --write
    has written, then test and publish it as any other rule file.
    """
    settings = options.settings()
    sources = find_draft(settings, draft)
    known = {each.name: each.exceptions for each in load_or_fail(sources, warnings=False).rules}
    if rule is not None and rule not in known:
        raise BadInput(f"{rule}: no such rule; `lanner rules list` shows them.")
    if write is not None:
        _check_target(write)
    first = time_ms(since, "--since", time.time_ns() // 1_000_000) or 0 if given is None else 0
    names = known.keys() if rule is None else {rule}
    if given is not None:
        if file is not None or topic:
            raise click.UsageError("give either --alerts or another source.")
        source = _of_file(given)
    elif console is not None and file is None and not topic:
        source = _of_console(console, first, names)
    else:
        source = _stored(settings, chosen_recording(settings, file, topic=topic, quiet=options.quiet), first)
    alerts = _alerts(source, first, names, _marked(console), quiet=options.quiet)
    trial = HarmTrial(sources.files)
    tried = [(each, trial.of(each)) for each in propose(alerts, witnesses, known)]
    tried.sort(key=lambda each: not _is_harmless(each))
    harmless = [each[0] for each in tried if _is_harmless(each)]
    demand = demanded_backtest(settings, store, None, default=since if given is None else None)
    run = None
    if demand is not None and harmless:
        run = _compared(settings, demand, sources, patch_text(harmless, trial.taken), quiet=options.quiet)
    if settings.json_output:
        click.echo(json.dumps([_record(each, run) for each in tried], indent=2))
    else:
        _print(alerts, tried)
        if run is not None:
            _print_effect(run)
    if write is not None:
        _write(write, harmless, sources.files, trial)


def _alerts(
    source: _Source, first: int, rules: Collection[str], marked: Collection[str], *, quiet: bool
) -> list[TunedAlert]:
    found: dict[str, TunedAlert] = {}
    with progress(quiet=quiet, restores=True) as search:
        for alert in source(search.stop):
            if search.stop() or len(found) == _MAX_ALERTS:
                note(f"stopped after {count_of(len(found), 'alert')}.")
                break
            if alert.rule in rules and alert.time // 1_000_000 >= first:
                found[alert.id] = TunedAlert.of(alert, is_marked=alert.id in marked)
                search.show(f"reading: {count_of(len(found), 'alert')}")
    return list(found.values())


def _stored(settings: Settings, recording: Path | None, first: int) -> _Source:
    return lambda stop: open_events(settings, recording, note).alerts(EventRange(first), stop)


def _of_console(console: Path, first: int, rules: Collection[str]) -> _Source:
    from lanner.console.store.reading import AlertReader

    def read(_: Callable[[], bool]) -> Iterator[Alert]:
        try:
            reader = AlertReader(console)
            for rule in rules:
                for alert, _group in reader.alerts_of_rule(rule, first * 1_000_000, _MAX_ALERTS):
                    yield alert
        except (OSError, BadAlert) as error:
            raise BadInput(f"{console}: {error}.") from None

    return read


def _of_file(path: Path) -> _Source:
    from notifier.formats.falco import falco_alert

    def read(_: Callable[[], bool]) -> Iterator[Alert]:
        with or_bad_input(path), path.open("rb") as file:
            for number, line in enumerate(iter(partial(file.readline, _LONGEST_LINE), b""), 1):
                try:
                    if line.strip():
                        yield _with_repeats(json.loads(line), falco_alert)
                except (ValueError, RecursionError) as error:
                    raise BadInput(f"{path}:{number}: not an alert: {error}.") from None

    return read


def _with_repeats(record: object, falco_alert: Callable[[object], Alert]) -> Alert:
    """Return an alert with the event that only Lanner's JSON has; a summary counts its repeats."""
    alert = falco_alert(record)
    fields, event = (record.get(key) if isinstance(record, dict) else None for key in ("output_fields", "event"))
    if isinstance(event, dict):
        alert = replace(alert, event={**alert.event, **event})
    count = alert.output_fields.get("repeats.count")
    if isinstance(fields, dict) and isinstance(count, int):
        # A summary lists the values in which its alerts differ.
        shared = {name: value for name, value in alert.event.items() if not isinstance(fields.get(name), list)}
        repeats = Repeats(alert.id, count, alert.time, alert.time, 0)
        alert = replace(alert, repeats=repeats, output_fields={}, event=shared)
    return alert


def _marked(console: Path | None) -> Collection[str]:
    if console is None:
        return ()
    from lanner.console.store.reading import AlertReader

    try:
        return AlertReader(console).marked_as_real(_MAX_ALERTS)
    except OSError as error:
        raise BadInput(f"{console}: {error}.") from None


def _is_harmless(tried: _Tried) -> bool:
    proposal, harm = tried
    return not proposal.marked and not harm.tests and not harm.actions


def _print(alerts: list[TunedAlert], tried: Iterable[_Tried]) -> None:
    found = list(tried)
    total = count_of(sum(each.number for each in alerts), "alert")
    click.echo(f"{total}, {count_of(len(found), 'proposed exception')}.")
    for proposal, harm in found:
        quiets = f"{proposal.alerts:,} of {count_of(proposal.of_rule, 'alert')}"
        click.echo(f"\n{printable(proposal.rule)}: quiets {quiets}, on {count_of(proposal.hosts, 'host')}")
        for each in proposal.conditions:
            click.echo(f"    {printable(each.text)}")
        if proposal.exception:
            click.echo(f"  Values of the rule's exception {printable(proposal.exception)}.")
        click.echo(f"  {harm.sentence(proposal.marked)}")


def _compared(
    settings: Settings, demand: DemandedBacktest, sources: RuleChoices, patch: str, *, quiet: bool
) -> BacktestRun | None:
    """Evaluate the rules without and with a patch; None, after a warning, if that is not possible."""
    patched = replace(sources, files=(*sources.files, RuleFile("tuned.yaml", patch)))
    try:
        before, after = (detection_of(settings, each, warnings=False) for each in (sources, patched))
        run = compare(settings, demand, before, after, quiet=quiet)
    except (BadInput, BusUnavailable) as error:
        why = error.messages[0] if isinstance(error, BadInput) else error.reason
        note(f"no backtest is possible on {demand.name}: {why}", "warning")
        return None
    return run


def _print_effect(run: BacktestRun) -> None:
    """Print what the rules with harmless exceptions would have raised."""
    before, after = (each.counts for each in run.versions)
    was = count_of(before.alerts, "alert")
    click.echo(f"\nBacktest of {days_text(run.days)}: {was} before, {after.alerts:,} with the harmless exceptions.")
    for name in run.versions[0].names:
        counts = (each.rules[name].count if name in each.rules else 0 for each in (before, after))
        click.echo("  {}: {:,} before, {:,} after".format(printable(name), *counts))
    if not run.hosts:
        click.echo("  No events of this time are stored, so that means nothing.")
    for remark in run.remarks:
        click.echo(f"  not seen: {printable(remark)}")


def _record(tried: _Tried, run: BacktestRun | None) -> dict[str, object]:
    proposal, harm = tried
    record: dict[str, object] = {**asdict(proposal), **asdict(harm), "harmless": _is_harmless(tried)}
    del record["witness"]
    if run is not None and proposal.rule in run.versions[0].names:
        found = [each.counts.rules.get(proposal.rule) for each in run.versions]
        before, after = (0 if each is None else each.count for each in found)
        record["backtest"] = {"days": run.days, "before": before, "after": after, "not_seen": run.remarks}
    return record


def _check_target(path: Path) -> None:
    if not path.parent.is_dir():
        raise BadInput(f"{path.parent}: no such folder; create it, or pass another name to --write.")
    for each in (path, Path(test_file_of(str(path)))):
        if each.exists():
            raise BadInput(f"{each}: exists already; pass another name to --write.")


def _write(path: Path, found: list[Proposal], rule_files: Iterable[RuleFile], trial: HarmTrial) -> None:
    if not found:
        note("nothing harmless was found, so nothing was written.")
        return
    beside = path.parent
    files = [os.path.relpath(each.name, beside) for each in (*rule_files, RuleFile(str(path), ""))]
    proofs = [next((case for case in witness_cases(each) if trial.is_proof(each, case)), "") for each in found]
    cases = list(filter(None, proofs))
    texts = {path: patch_text(found, trial.taken), Path(test_file_of(str(path))): suite_text(cases, files)}
    for each, text in texts.items():
        if text:
            write_text(each, text)
    note(f"wrote {path} with {count_of(len(found), 'exception')}; try it by `lanner rules test {path}`.")
    if len(cases) < len(found):
        lacking = count_of(len(found) - len(cases), "exception")
        note(f"{lacking} without a test: an event with the fields of the alert isn't enough to raise it.")
