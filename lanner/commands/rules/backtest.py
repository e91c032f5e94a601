"""`lanner rules backtest`: what rules would have alerted on, in an archive, a topic or a recording.

Other commands use its options, and what a version of the rules that is to be published may raise.
"""

import fnmatch
import json
import sys
import textwrap
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import click

from bus.connection import BusUnavailable
from foundation.quantities import date_and_time_seconds, iso8601_zulu
from foundation.text import count_of, printable
from lanner.cli.app import Options, front_command
from lanner.cli.options import alone_option, chosen_recording, progress, source_options, time_ms
from lanner.errors import BadInput
from lanner.recorder.store import EventRange, StoredBatch, is_archive
from lanner.ruleset.compile import CompiledDetection
from lanner.ruleset.load import load_or_fail
from lanner.ruleset.refreshing import HostNames
from lanner.settings import Settings
from lanner.terminal.output import note
from lanner.terminal.tables import print_table
from lanner.tuning.backtest import (
    AlertExample,
    BacktestRange,
    BacktestRun,
    BacktestVersion,
    RuleAlerts,
    days_text,
    over_limits,
)
from lanner.wiring.rules import detection_of, find_draft, find_rules
from lanner.wiring.stores import open_candidates
from processor.loading.difference import changed_rules
from schemas.catalog.priorities import BY_NAME

_NAME_SECONDS = 5
"""Time to wait for the addresses of host names in rules; today's addresses, because past ones weren't recorded."""
_TOPIC = "topic"
_SHOWN = 10
_SHOWN_DAYS = 30
_FIXED = "\N{NO-BREAK SPACE}"
"""Between a value and its count, so that lines don't end there."""
_WIDTH = 110
_SHORT_MS = 3_600_000
"""State of a shorter time is not worth a line of its own."""
_NS_PER_MS = 1_000_000


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


@front_command(
    "backtest",
    example="lanner rules backtest draft.yaml --file /var/lib/lanner-archive --since 90d\n"
    "lanner rules backtest draft.yaml --topic --since 24h --host 'web-*'\n"
    "lanner rules backtest --rule 'Connect *' --since 2026-11-01 --until 2026-11-08 --format json",
)
@click.argument("paths", nargs=-1, metavar="[PATH…]")
@range_options
@click.option("--rule", "selected", multiple=True, metavar="NAME", help="Only rules of this name; * matches any text.")
@alone_option
@source_options
def backtest(
    options: Options,
    paths: tuple[str, ...],
    *,
    since: str,
    until: str | None,
    host: str,
    selected: tuple[str, ...],
    alone: bool,
    file: Path | None,
    topic: bool,
) -> None:
    """Count what rules would have alerted on in stored events, by day, host and image, with examples.

    The rules are those that the files and folders at PATH define, or change by their macros and lists; they are loaded
    after the active ones. Without PATH, they are all active rules. Events are evaluated in the order in which they
    arrived, of all hosts together, and those of stateful rules from before --since on, as far back as their state
    depends on. Nothing is published. Ctrl-C prints what was counted until then. The last lines state what was not
    collected: rules that need it can't have matched.
    """
    settings = options.settings()
    range_ = chosen_range(since, until)
    detection = detection_of(settings, find_draft(settings, paths, alone=alone), warnings=not options.quiet)
    if not options.quiet:
        for line in detection.notices:
            note(line)
    version = BacktestVersion(detection, _chosen(settings, detection, paths, selected, alone=alone))
    if not version.names:
        raise BadInput("none of these rules is enabled, so there is nothing to evaluate.")
    run = BacktestRun((version,), range_)
    evaluate(run, settings, stored_where(settings, file, topic=topic, quiet=options.quiet), host, quiet=options.quiet)
    (_print_json if settings.json_output else _print_text)(run)


def _chosen(
    settings: Settings, draft: CompiledDetection, paths: Sequence[str], patterns: Sequence[str], *, alone: bool
) -> frozenset[str] | None:
    """Return the rules whose alerts are counted; None for all."""
    names = frozenset(each.name for each in draft.active_rules.rules)
    for pattern in patterns:
        if not fnmatch.filter(names, pattern):
            raise BadInput(f"{pattern}: no such rule; `lanner rules list` shows them.")
    if patterns:
        return frozenset(name for pattern in patterns for name in fnmatch.filter(names, pattern))
    if not paths or alone:
        return None
    own = {file.name for file in find_rules(replace(settings, rules_files=tuple(paths))).files}
    changed = changed_rules(load_or_fail(find_rules(settings), warnings=False), draft.active_rules)
    return changed | {each.name for each in draft.active_rules.rules if each.file in own}


def _print_text(run: BacktestRun) -> None:
    found = run.counts.ordered()
    if found:
        print_table(
            ("RULE", "PRIORITY", "ALERTS", "DAYS", "MOST A DAY", "HOSTS", "IMAGES", "FIRST", "LAST"),
            list(map(_row, found)),
        )
    sys.stdout.writelines(f"{line}\n" for each in found for line in _section(run, each))
    version = run.versions[-1]
    start, end = (_time(at * _NS_PER_MS) for at in (run.range.since, run.range.until))
    sys.stdout.write("\n" if found else "")
    sys.stdout.write(
        f"{count_of(run.counts.alerts, 'alert')} of {count_of(len(version.names), 'rule')} in "
        f"{count_of(run.events, 'event')} of {count_of(len(run.hosts), 'host')}, {start} to {end} (UTC). "
        "Nothing was published.\n"
    )
    if not (run.hosts or run.is_stopped):
        sys.stdout.write("No events of this time are stored, so the result means nothing.\n")
    sys.stdout.writelines(f"{line}\n" for line in _state_lines(run) if run.hosts)
    sys.stdout.writelines(f"not seen by these rules: {printable(remark)}\n" for remark in run.remarks)
    sys.stdout.flush()


def _row(found: RuleAlerts) -> tuple[str, ...]:
    counts = (found.count, len(found.days), max(found.days.values(), default=0), len(found.hosts), len(found.images))
    return found.rule, found.priority, *(f"{each:,}" for each in counts), _time(found.first), _time(found.last)


def _section(run: BacktestRun, found: RuleAlerts) -> Iterator[str]:
    """Yield the lines about one rule."""
    yield ""
    yield printable(f"{found.rule} ({found.priority})")
    days = [f"{day}:{_FIXED}{count:,}" for day, count in sorted(found.days.items())]
    if len(days) > _SHOWN_DAYS:
        days = [f"{count_of(len(days) - _SHOWN_DAYS, 'earlier day')}", *days[-_SHOWN_DAYS:]]
    for title, texts in (("by day", days), ("by host", _most(found.hosts)), ("by image", _most(found.images))):
        text = f"{title:<9} " + ", ".join(map(printable, texts))
        for line in textwrap.wrap(
            text, _WIDTH, initial_indent="  ", subsequent_indent=" " * 12, break_on_hyphens=False
        ):
            yield line.replace(_FIXED, " ")
    complete = run.complete_from(found.rule)
    if complete > max(run.range.since, run.first + _SHORT_MS):
        at = _time(complete * _NS_PER_MS)
        yield f"  Its state is complete from {at}: before, alerts may be missing, or too many."
    for each in found.examples:
        yield f"  {_time(each.time)}  {printable(each.host)}  {printable(each.output)}"


def _most(counts: Counter[str]) -> list[str]:
    shown = [f"{name}{_FIXED}{count:,}" for name, count in counts.most_common(_SHOWN)]
    return shown if len(counts) <= _SHOWN else [*shown, f"and {len(counts) - _SHOWN:,} more"]


def _state_lines(run: BacktestRun) -> Iterator[str]:
    """Yield since when the state of rules is complete."""
    version = run.versions[-1]
    late = sorted(at for name in version.spans if (at := run.complete_from(name)) > run.range.since)
    if len(late) < len(version.spans):
        yield f"The state of {count_of(len(version.spans) - len(late), 'stateful rule')} is complete from the start."
    if late:
        ends = f"from {_time(late[0] * _NS_PER_MS)}"
        if late[-1] > late[0]:
            ends += f" to {_time(late[-1] * _NS_PER_MS)} on"
        begin = _time(run.first * _NS_PER_MS)
        yield f"That of {count_of(len(late), 'stateful rule')} is complete {ends}, since the events begin at {begin}."


def _print_json(run: BacktestRun) -> None:
    version = run.versions[-1]
    record = {
        "since": _zulu(run.range.since),
        "until": _zulu(run.range.until),
        "events": run.events,
        "hosts": len(run.hosts),
        "rules": len(version.names),
        "alerts": run.counts.alerts,
        "found": [_rule_record(run, each) for each in run.counts.ordered()],
        "state_complete_from": {name: _zulu(run.complete_from(name)) for name in version.spans},
        "not_seen": run.remarks,
    }
    # ASCII, because outputs quote what an attacker wrote.
    sys.stdout.write(json.dumps(record) + "\n")
    sys.stdout.flush()


def _rule_record(run: BacktestRun, found: RuleAlerts) -> dict[str, object]:
    return {
        "rule": found.rule,
        "priority": found.priority,
        "alerts": found.count,
        "first": iso8601_zulu(found.first),
        "last": iso8601_zulu(found.last),
        "by_day": dict(sorted(found.days.items())),
        "by_host": dict(found.hosts.most_common()),
        "by_image": dict(found.images.most_common()),
        "state_complete_from": _zulu(run.complete_from(found.rule)),
        "examples": list(map(_example_record, found.examples)),
    }


def _example_record(example: AlertExample) -> dict[str, str]:
    return {
        "time": iso8601_zulu(example.time),
        "host": example.host,
        "image": example.image,
        "program": example.program,
        "output": example.output,
    }


def _zulu(milliseconds: int) -> str:
    return iso8601_zulu(milliseconds * _NS_PER_MS)


def _time(nanoseconds: int) -> str:
    return date_and_time_seconds(nanoseconds, utc=True)
