"""`lanner hunt`: finds stored events by a condition of the rule language, or by SQL."""

import csv
import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

import click

from foundation.quantities import UNITS
from foundation.text import count_of, csv_cell, printable
from lanner.cli.app import Options, front_command
from lanner.cli.options import Progress, chosen_recording, parse_duration_ms, progress, source_options, time_ms
from lanner.errors import BadInput, or_bad_input
from lanner.libraries import need
from lanner.recorder.search import BadCondition, SearchCondition, compile_search, split_fields
from lanner.recorder.store import EventRange, is_archive
from lanner.settings import Settings
from lanner.terminal.output import note
from lanner.terminal.tables import print_table
from lanner.wiring.rules import find_rules
from lanner.wiring.stores import row_source
from processor.output.redaction import Redaction

if TYPE_CHECKING:
    import pyarrow as pa

    from lanner.hunting.hunt import HuntLimits
    from lanner.hunting.results import HuntResult
    from lanner.hunting.sources import RowSource

_FORMATS = ("text", "json", "csv", "parquet")
_TO_FILE = "parquet"
_SHOWN_PLACES = 20


@dataclass(frozen=True, slots=True)
class _Source:
    """Where to read, when, and where to write."""

    settings: Settings
    options: Options
    events: EventRange
    file: Path | None
    topic: bool
    output: Path | None
    memory: int
    threads: int


def _fields(_: click.Context, __: click.Parameter, texts: tuple[str, ...]) -> tuple[str, ...]:
    return split_fields(*texts)


@front_command(
    "hunt",
    example="sudo lanner hunt 'proc.name = curl and evt.type = connect' --since 7d\n"
    "lanner hunt 'evt.type = execve' --since 90d --group-by proc.exepath --rare 2\n"
    "lanner hunt --indicators feed.txt --since 90d\n"
    "lanner hunt --sql 'SELECT proc_name, count(*) FROM events GROUP BY ALL' --since 24h",
    formats=_FORMATS,
)
@click.argument("condition", required=False)
@click.option("--sql", metavar="SELECT", help="Run SQL over the views `events` and `alerts` instead of a condition.")
@click.option(
    "--indicators", type=click.Path(path_type=Path), metavar="FILE",
    help="Find events whose addresses, names or digests are in this file: text, CSV, STIX 2.1 or MISP.",
)  # fmt: skip
@click.option("--column", metavar="NAME", help="With --indicators: the column of a CSV file that has the entries.")
@click.option("--since", metavar="TIME", default="24h", show_default=True, help="A duration before now, or a date.")
@click.option("--until", metavar="TIME", help="Not later than this.  [default: now]")
@click.option("--host", metavar="HOST", help="Only the host with this name or id.")
@click.option("--group-by", multiple=True, metavar="FIELDS", callback=_fields, help="Count events by these fields.")
@click.option("--fields", multiple=True, metavar="FIELDS", callback=_fields, help="Show these fields of the events.")
@click.option("--count", is_flag=True, help="Show the number of events.")
@click.option(
    "--rare", type=click.IntRange(1), metavar="N",
    help="Only values of the first field of --group-by that occur with at most N values of the others; on at most N "
    "hosts if there are no others.",
)  # fmt: skip
@click.option("--first", is_flag=True, help="Show the first event, of each group with --group-by.")
@click.option("--last", is_flag=True, help="Show the last event, of each group with --group-by.")
@click.option("--timeline", metavar="PERIOD", help="Count events by periods of this length, such as 1h.")
@click.option("--limit", type=click.IntRange(1), default=1000, show_default=True, help="The most rows to show.")
@click.option("--explain", is_flag=True, help="Show what SQL and what the engine decides, and the SQL; read nothing.")
@click.option("--columns", is_flag=True, help="List the columns of `events` for --sql, with the fields that they are.")
@click.option("--output", type=click.Path(path_type=Path), metavar="FILE", help="Write to this file.")
@click.option("--memory", metavar="MIB", type=click.IntRange(64), default=1024, show_default=True,
              help="Use at most so much memory for queries.")  # fmt: skip
@click.option("--threads", type=click.IntRange(1), default=2, show_default=True, help="Use at most so many threads.")
@source_options
def command(
    options: Options,
    condition: str | None,
    *,
    sql: str | None,
    indicators: Path | None,
    column: str | None,
    since: str,
    until: str | None,
    host: str | None,
    group_by: tuple[str, ...],
    fields: tuple[str, ...],
    count: bool,
    rare: int | None,
    first: bool,
    last: bool,
    timeline: str | None,
    limit: int,
    explain: bool,
    columns: bool,
    output: Path | None,
    memory: int,
    threads: int,
    file: Path | None,
    topic: bool,
) -> None:
    """Find stored events that meet CONDITION, in the language of rules, with the macros and lists of the rules.

    With --indicators, find events of which a value is in a file of up to a million addresses, networks, names and
    digests, and that meet CONDITION if there is one.

    The source is an archive, this host's own recording, which `lanner run` writes, or the fleet's topics if a broker is
    configured. DuckDB evaluates what SQL can state of the condition, the engine of rules the rest; so a condition
    matches what a rule with it would match. Ctrl-C shows what was found until then.
    """
    need("archive", "duckdb", "sqlglot", "pyarrow")
    from lanner.hunting.results import HuntResult

    if columns:
        _print_columns(options)
        return
    if [condition is not None or indicators is not None, sql is not None].count(True) != 1:
        raise click.UsageError("give either CONDITION, --indicators or both; or --sql.")
    if sql is not None and any((group_by, fields, count, rare, first, last, timeline, explain)):
        raise click.UsageError("--sql takes no options of a result, and has no --explain: write it in the SELECT.")
    if column is not None and indicators is None:
        raise click.UsageError("--column needs --indicators.")
    if (first and last) or (rare and not group_by):
        raise click.UsageError("--rare needs --group-by." if rare else "give either --first or --last.")
    if (first or last) and (count or timeline or rare):
        raise click.UsageError("--first and --last show events, which --count, --timeline and --rare count.")
    if rare and timeline:
        raise click.UsageError("give either --rare or --timeline.")
    if options.format == _TO_FILE and output is None:
        raise click.UsageError("--format parquet needs --output FILE.")
    settings = options.settings()
    now = time.time_ns() // 1_000_000
    events = EventRange(time_ms(since, "--since", now) or 0, time_ms(until, "--until", now), host)
    if events.until is not None and events.until <= events.since:
        raise BadInput("--until is before --since.")
    source = _Source(settings, options, events, file, topic, output, memory, threads)
    if sql is not None:
        _run_sql(source, sql, limit)
        return
    result = HuntResult(
        group_by=group_by,
        fields=fields,
        count=count,
        rare=rare or 0,
        edge="first" if first else "last" if last else "",
        timeline=0 if timeline is None else parse_duration_ms(timeline, "--timeline") * UNITS["ms"],
        limit=limit,
    )
    compiled = None if condition is None else _compiled(source, condition)
    if indicators is not None:
        compiled, result = _listed(source, indicators, column, compiled, result)
    assert compiled is not None  # noqa: S101  there is a condition or a file
    _run(source, compiled, result, explain=explain)


def _listed(
    source: _Source, path: Path, column: str | None, condition: SearchCondition | None, result: "HuntResult"
) -> "tuple[SearchCondition, HuntResult]":
    """Return the condition that a file's entries make, and a result that shows what was found."""
    from lanner.hunting.listed import counted, listed_condition, read_listed, shown_fields
    from lanner.hunting.results import DEFAULT_FIELDS

    found = read_listed(path, column)
    if not source.options.quiet:
        note(f"{path}: {counted(found)}.")
    fields = result.fields or tuple(dict.fromkeys((*DEFAULT_FIELDS, *shown_fields(found))))
    return listed_condition(found, condition), replace(result, fields=fields)


def _run(source: _Source, condition: SearchCondition, result: "HuntResult", *, explain: bool) -> None:
    from lanner.hunting.hunt import Hunt

    hunt = Hunt(condition, result, _limits(source))
    if explain:
        sys.stdout.write(hunt.explained(source.events) + "\n")
        return
    with _opened(source) as (events, search):

        def show(share: float) -> None:
            search.show(f"hunting: {share:.0%}, {count_of(hunt.found, 'row')} found")

        table = hunt.run(events, source.events, search.stop, show)
        was_stopped = search.stop()
    _write(source, table)
    _remark(source, events)
    if hunt.faults:
        note(f"{count_of(hunt.faults, 'event')} could not be evaluated.", "warning")
    if was_stopped and not source.options.quiet:
        note("stopped: these are the events that were read until then.")
    elif table.num_rows == result.limit and not source.options.quiet:
        note(f"there may be more: --limit {result.limit}.")


def _compiled(source: _Source, text: str) -> SearchCondition:
    try:
        found = compile_search(text, find_rules(source.settings).files)
    except BadCondition as error:
        raise BadInput(
            *(_place(text, each.line, each.column, each.message, each.hint) for each in error.problems)
        ) from None
    if not source.options.quiet:
        for each in found.warnings:
            note(_place(text, each.line, each.column, each.message, each.hint), "warning")
    return found


def _place(text: str, line: int, column: int, message: str, hint: str) -> str:
    where = ""
    if line and "\n" in text:
        where = f"line {line}, "
    if line:
        where += f"column {column}: "
    return f"condition: {where}{message}{f' ({hint})' if hint else ''}"


def _run_sql(source: _Source, text: str, limit: int) -> None:
    from lanner.hunting.sources import private_folder
    from lanner.hunting.sql import SqlHunt, checked

    query = checked(text)
    with _opened(source) as (events, search), private_folder() as folder:
        search.show("opening events")
        found = SqlHunt(*events.datasets(source.events, search.stop, Path(folder)), source.events, _limits(source))
        try:
            search.show("running the query")
            table = found.run(query, limit, search.stop)
        finally:
            found.close()
    _write(source, table)
    _remark(source, events)
    if table.num_rows == limit and not source.options.quiet:
        note(f"there may be more: --limit {limit}.")


def _remark(source: _Source, events: "RowSource") -> None:
    for text in () if source.options.quiet else events.remarks:
        note(text)


def _limits(source: _Source) -> "HuntLimits":
    from lanner.hunting.hunt import HuntLimits

    return HuntLimits(source.memory, source.threads)


@contextmanager
def _opened(source: _Source) -> "Iterator[tuple[RowSource, Progress]]":
    """Open where events are read from."""
    settings, quiet, file = source.settings, source.options.quiet, source.file
    own = Path(settings.archive.folder)
    if file is None and not source.topic and is_archive(own):
        file = own
        if not quiet:
            note(f"reading the archive in {own}; --topic reads a fleet's topics, --file a recording.")
    if file is not None and not source.topic and is_archive(file):
        with progress(quiet=quiet) as search, or_bad_input(file):
            yield row_source(settings, file, note), search
        return
    recording = chosen_recording(settings, file, topic=source.topic, quiet=quiet)
    with progress(quiet=quiet) as search:
        yield row_source(settings, recording, note), search


def _print_columns(options: Options) -> None:
    from lanner.hunting.sql import column_rows

    found = list(column_rows())
    if options.format == "json":
        sys.stdout.write(json.dumps([{"column": column, "field": field} for field, column in found]) + "\n")
    else:
        print_table(("COLUMN", "FIELD"), [(column, field) for field, column in found])


def _write(source: _Source, table: "pa.Table") -> None:
    from lanner.hunting.results import masked

    table = masked(table, Redaction(source.settings.redact))
    form = source.options.format or ("json" if source.settings.json_output else "text")
    if form == _TO_FILE:
        from pyarrow import parquet

        with or_bad_input(source.output):
            parquet.write_table(table, source.output)
    elif source.output is not None:
        with or_bad_input(source.output), source.output.open("w", encoding="utf-8", newline="") as file:
            _WRITERS.get(form, _write_csv)(table, file)
    elif form == "text":
        _print(table)
    else:
        _WRITERS[form](table, sys.stdout)
        sys.stdout.flush()


def _print(table: "pa.Table") -> None:
    from lanner.hunting.results import rows_of

    rows = [["-" if value is None else _shown(value) for value in row] for row in rows_of(table)]
    print_table(list(map(printable, table.column_names)), rows)


def _shown(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return (
        value
        if isinstance(value, str)
        else json.dumps(value, default=str)
        if isinstance(value, list | dict)
        else str(value)
    )


def _write_json(table: "pa.Table", file: TextIO) -> None:
    from lanner.hunting.results import rows_of

    for row in rows_of(table):
        # ASCII, because rows quote what an attacker wrote.
        values = {name: value for name, value in zip(table.column_names, row, strict=True) if value is not None}
        file.write(json.dumps(values, default=str) + "\n")


def _write_csv(table: "pa.Table", file: TextIO) -> None:
    from lanner.hunting.results import rows_of

    writer = csv.writer(file, lineterminator="\n")
    # The names of columns may be values of hosts, by PIVOT.
    writer.writerow(map(csv_cell, table.column_names))
    for row in rows_of(table):
        writer.writerow(
            csv_cell(value) if isinstance(value, str) else "" if value is None else _shown(value) for value in row
        )


_WRITERS: "dict[str, Callable[[pa.Table, TextIO], None]]" = {"json": _write_json, "csv": _write_csv}
