"""Backtests for commands: where the events are, which rules changed, and what a published version may raise."""

import fnmatch
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from bus.connection import BusUnavailable
from foundation.text import count_of, printable
from lanner.cli.options import chosen_recording, progress, time_ms
from lanner.errors import BadInput
from lanner.recorder.store import EventRange, StoredBatch, is_archive
from lanner.ruleset.compile import CompiledDetection
from lanner.ruleset.host_names import HostNames
from lanner.settings import Settings
from lanner.terminal.output import note
from lanner.tuning.backtest import BacktestRange, BacktestRun, BacktestVersion, days_text, over_limits
from lanner.wiring.stores import open_candidates
from processor.loading.difference import changed_rules
from schemas.catalog.priorities import BY_NAME

_NAME_SECONDS = 5
"""Time to wait for the addresses of host names in rules; today's addresses, because past ones weren't recorded."""
_NS_PER_MS = 1_000_000
_TOPIC = "topic"
_SHOWN = 10


def range_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that choose the time and the hosts, which are passed as `since`, `until` and `host`."""
    since, until = "A duration before now, or a date and time.", "Not later than this.  [default: now]"
    host = "Only hosts with this name or id; * matches any text."
    function = click.option("--host", metavar="PATTERN", default="*", help=host)(function)
    function = click.option("--until", metavar="TIME", help=until)(function)
    return click.option("--since", metavar="TIME", default="7d", show_default=True, help=since)(function)


def chosen_range(since: str, until: str | None) -> BacktestRange:
    """Return the range that these options state. Raises BadInput."""
    now = time.time_ns() // _NS_PER_MS
    found = BacktestRange(time_ms(since, "--since", now) or 0, time_ms(until, "--until", now) or now)
    if found.until <= found.since:
        raise BadInput("--until is not after --since.")
    return found


def stored_where(settings: Settings, file: Path | None, *, topic: bool, quiet: bool) -> Path | None:
    """Return what was named; else this host's archive, None for the topics, or this host's recording.

    Raises BadInput and click.UsageError as chosen_recording.
    """
    own = Path(settings.archive.folder)
    if file is None and not topic and is_archive(own):
        if not quiet:
            note(f"reading the archive in {own}; --topic reads a fleet's topics, --file a recording.")
        return own
    return chosen_recording(settings, file, topic=topic, quiet=quiet)


def evaluate(run: BacktestRun, settings: Settings, where: Path | None, host: str = "*", *, quiet: bool) -> None:
    """Evaluate what a run needs; Ctrl-C ends it early.

    where: an archive or a recording; None for the topics of a fleet. Raises BadInput and BusUnavailable.
    """

    def is_selected(stored: StoredBatch) -> bool:
        return fnmatch.fnmatchcase(stored.batch.hostname, host) or stored.batch.host_id == host

    names = HostNames({name: None for each in run.versions for name in each.detection.host_names})
    names.wait(_NAME_SECONDS)
    try:
        with progress(quiet=quiet, restores=True) as search:
            about = run.range.since if where is not None and is_archive(where) else None
            events = EventRange(run.read_from, run.range.until, about=about)
            conditions = () if run.needs_all_events else [each for one in run.versions for each in one.conditions]
            batches = open_candidates(settings, where, conditions, note).batches(events, search.stop)
            run.evaluate(batches, names.table, is_selected, stop=search.stop, show=search.show)
    finally:
        names.stop()


@dataclass(frozen=True, slots=True)
class DemandedBacktest:
    """A backtest that a setting or an option demands."""

    where: Path | None
    """An archive or a recording; None for the topics of a fleet."""
    range: BacktestRange

    @property
    def name(self) -> str:
        """Where the events are, for people."""
        return "the topics" if self.where is None else str(self.where)


def demanded_backtest(
    settings: Settings, store: str | None, since: str | None, *, default: str | None
) -> DemandedBacktest | None:
    """Return the backtest that options or else settings demand, if any.

    default: the start without `since`; None for the configured one. Raises BadInput for a wrong time, or one for none.
    """
    configured = settings.published_rules.backtest
    named = configured.store if store is None else store
    if not named:
        if since is not None:
            raise BadInput("--since goes with --backtest.")
        return None
    now = time.time_ns() // _NS_PER_MS
    first = time_ms(since or default or configured.since, "--since", now) or 0
    return DemandedBacktest(None if named == _TOPIC else Path(named), BacktestRange(first, now))


def check_backtest(
    settings: Settings,
    demand: DemandedBacktest,
    before: CompiledDetection | None,
    draft: CompiledDetection,
    show: Callable[[str], None],
    *,
    force: bool,
    quiet: bool,
) -> str:
    """Backtest the rules of a draft that are new or changed, and return what was found and decided, for the record.

    Args:
        settings: have the limits.
        demand: where and when.
        before: the published version; None if there is none.
        draft: what is about to be published.
        show: receives what was found.
        force: whether to go on if a limit is exceeded, or if no backtest is possible.
        quiet: draw no progress.

    Raises:
        BadInput: A limit is exceeded, no backtest is possible, or Ctrl-C ended it.
    """
    names = None if before is None else changed_rules(before.active_rules, draft.active_rules)
    run = BacktestRun((BacktestVersion(draft, names),), demand.range)
    if not run.versions[0].names:
        show("no rule would alert on other events than before, so nothing was backtested.")
        return ""
    try:
        evaluate(run, settings, demand.where, quiet=quiet)
        fault = "" if run.hosts else "no events of this time are stored"
    except (BadInput, BusUnavailable) as error:
        fault = error.messages[0] if isinstance(error, BadInput) else error.reason
    if run.is_stopped:
        raise BadInput("stopped early: nothing was published.")
    if fault:
        text = f"no backtest is possible on {demand.name}: {fault.rstrip('.')}"
        if not force:
            raise BadInput(f"{text}.", "add --force to publish all the same.")
        note(f"{text}.", "warning")
        return printable(f"published by --force, although {text}")
    for line in _lines(run):
        show(printable(line))
    found = run.counts.sentence(run.days)
    over = over_limits(
        run.counts, [(BY_NAME[each.priority], each.alerts_per_day) for each in settings.published_rules.backtest.limits]
    )
    if over and not force:
        raise BadInput(*over, "add --force to publish all the same.")
    for line in over:
        note(line, "warning")
    return f"backtest: {found}{f'; published by --force: {over[0]}' if over else ''}"


def _lines(run: BacktestRun) -> Iterator[str]:
    rules = count_of(len(run.versions[0].names), "new or changed rule")
    yield f"{rules} would have raised {run.counts.sentence(run.days)}."
    if run.days < run.range.days:
        yield f"  events of only {days_text(run.days)} are stored."
    found = run.counts.ordered()
    for each in found[:_SHOWN]:
        most = f"most a day {max(each.days.values(), default=0):,}"
        yield f"  {each.rule} ({each.priority}): {each.count:,} on {count_of(len(each.hosts), 'host')}, {most}"
    if len(found) > _SHOWN:
        yield f"  and {len(found) - _SHOWN} more rules; `lanner rules backtest` lists all."
    for name in sorted(run.versions[0].spans):
        if run.complete_from(name) > run.range.since:
            yield f"  the state of {name} is not complete from the start."
    for remark in run.remarks:
        yield f"  not seen: {remark}"


def compare(
    settings: Settings, demand: DemandedBacktest, before: CompiledDetection, after: CompiledDetection, *, quiet: bool
) -> BacktestRun:
    """Evaluate two versions on the same events; only rules that differ are counted. Raises BadInput, BusUnavailable."""
    names = changed_rules(before.active_rules, after.active_rules)
    run = BacktestRun((BacktestVersion(before, names), BacktestVersion(after, names)), demand.range)
    evaluate(run, settings, demand.where, quiet=quiet)
    return run
