"""`lanner rules backtest`: what rules would have alerted on, in an archive, a topic or a recording."""

import fnmatch
import json
import sys
import textwrap
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import click

from foundation.quantities import date_and_time_seconds, iso8601_zulu
from foundation.text import count_of, printable
from lanner.cli.app import Options, front_command
from lanner.cli.options import alone_option, source_options
from lanner.commands.rules.backtested import chosen_range, evaluate, range_options, stored_where
from lanner.errors import BadInput
from lanner.ruleset.compile import CompiledDetection
from lanner.ruleset.load import load_or_fail
from lanner.settings import Settings
from lanner.terminal.output import note
from lanner.terminal.tables import print_table
from lanner.tuning.backtest import AlertExample, BacktestRun, BacktestVersion, RuleAlerts
from lanner.wiring.rules import detection_of, find_draft, find_rules
from processor.loading.difference import changed_rules

_SHOWN = 10
_SHOWN_DAYS = 30
_FIXED = "\N{NO-BREAK SPACE}"
"""Between a value and its count, so that lines don't end there."""
_WIDTH = 110
_SHORT_MS = 3_600_000
"""State of a shorter time is not worth a line of its own."""
_NS_PER_MS = 1_000_000


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
