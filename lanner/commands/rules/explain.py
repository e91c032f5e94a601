"""`lanner rules explain`: why a rule did or didn't match an event."""

import json
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import click

from foundation.text import printable
from lanner.cli.app import Options, front_command
from lanner.cli.options import chosen_recording, draft_option, progress
from lanner.recorder.context import EventQuery, find_around, parse_alert_id
from lanner.ruleset.explanation import Explanation, as_json_tree, as_text_tree
from lanner.ruleset.load import choose_rule, load_or_fail
from lanner.ruletest.given import (
    SourceNamed,
    answer_for_event,
    answer_for_value,
    answers_for_recording,
    choose_given,
    event_of,
    is_json,
    is_recording,
    raised_by,
    read_given,
    recorded_event,
)
from lanner.sources.installed import source_named
from lanner.terminal.output import coloured, note
from lanner.wiring.rules import find_draft
from lanner.wiring.stores import open_events
from processor.loading import Rule
from processor.rule import correlations_of
from processor.splitting import stateful_names
from schemas.catalog.fields import SYSCALL

_AROUND_MS = 1000


@front_command(
    "explain",
    example=(
        'lanner rules explain "Terminal shell in container" --event incident.avro --num 1711\n'
        'lanner rules explain "Read sensitive file untrusted" --event alerts.json --all\n'
        'lanner rules explain "Read sensitive file untrusted" --event-id 01a20e63-3df8-8a19-82ef-5e8e855bbfb0\n'
        'lanner rules explain "Clear log files" --event \'{"evt.type": "openat", "fd.name": "/var/log/wtmp", '
        '"flags": "O_TRUNC|O_WRONLY", "proc": "bash"}\''
    ),
)
@click.argument("name")
@click.option(
    "--event", "event", metavar="FILE|JSON|YAML", help="A recording, or alerts or events as JSON; file or text."
)
@click.option("--num", "number", type=int, help="Which event: evt.num in a recording, else its position from 1.")
@click.option("--event-id", "identity", metavar="ID", help="Which event: that of the alert with this id.")
@click.option("--host", metavar="HOST", help="For --event-id: the host, if the alert itself is no longer retained.")
@click.option(
    "--all",
    "every",
    is_flag=True,
    help="One line for each alert or event; of a recording, for those of the rule's event types.",
)
@draft_option
@click.option("--expand", is_flag=True, help="Expand all macros, and print values in full.")
def command(
    options: Options,
    name: str,
    *,
    event: str | None,
    number: int | None,
    identity: str | None,
    host: str | None,
    every: bool,
    draft: tuple[str, ...],
    expand: bool,
) -> None:
    """Show whether rule NAME matches an event, with what decided it, and its condition as a tree.

    The answer is one of: matches; does not match; can't tell, if the event as passed lacks fields, as alerts do.
    `--event-id` without `--event` looks the whole event up in what this host or the broker retains.

    An event is one of a recording, an alert as JSON, a line of `lanner events tail --format json`, a Kubernetes audit
    event, JSON of the rule's source, a mapping of fields, or an event of a rule test, also as its line of YAML:
    '{evt.type: openat, fd.name: /etc/shadow, proc: cat}'.
    """
    if event is None and identity is None:
        raise click.UsageError("pass --event, or --event-id to look an event up.")
    if (number is not None) + (identity is not None) + every > 1:
        raise click.UsageError("--num, --event-id and --all exclude each other.")
    settings = options.settings()
    loaded = load_or_fail(find_draft(settings, draft), warnings=False)
    rule = choose_rule(loaded.rules, name)
    sources = partial(source_named, settings)
    if every:
        _print_all(rule, event or "", sources, as_json=options.format == "json")
        return
    if identity is not None and (event is None or _is_retained(event)):
        found, remark = _retained(options, loaded.rules, rule, identity=identity, event=event, host=host), ""
    else:
        found, remark = _passed(rule, event or "", number, identity, sources)
    correlations = correlations_of(loaded.macros)
    stateful = stateful_names(rule.condition, correlations)
    if options.format == "json":
        facts = _facts(rule, found) | {"remembers": list(stateful), "condition": as_json_tree(found.tree)}
        click.echo(json.dumps(facts, indent=2))
        return
    click.echo(f"{printable(rule.name)} ({printable(rule.file)}:{rule.line}) {found.sentence()}")
    if remark:
        click.echo(remark)
    for macro in stateful:
        kind = correlations[macro].kind
        unknown = "that its value is new" if kind.remembers_values else "that the threshold is reached"
        unknown = "that few hosts have it" if kind.counts_hosts else unknown
        click.echo(f"{printable(macro)} is stateful: counts means that this event counts, not {unknown}.")
    colour = coloured(sys.stdout)
    click.echo(as_text_tree(found.tree, expand=expand, colour=colour, stateful=stateful), nl=False)


def _facts(rule: Rule, found: Explanation) -> dict[str, Any]:
    return {
        "rule": rule.name,
        "answer": found.kind,
        "matches": found.matches,
        "because": list(found.reasons),
        "lacking": list(found.lacking),
    }


def _is_retained(event: str) -> bool:
    path = None if is_json(event) else Path(event)
    return path is not None and path.exists() and (path.is_dir() or is_recording(path))


def _retained(
    options: Options, rules: Sequence[Rule], rule: Rule, *, identity: str, event: str | None, host: str | None
) -> Explanation:
    settings = options.settings()
    query = EventQuery(parse_alert_id(identity), host, _AROUND_MS, _AROUND_MS, 1)
    recording = chosen_recording(settings, None if event is None else Path(event), topic=False, quiet=options.quiet)
    names = frozenset(each.name for each in rules)
    with progress(quiet=options.quiet) as search:
        store = open_events(settings, recording, note)
        found = find_around(query, store, lambda: names, search.stop, search.show)
        search.clear()
        event_found = event_of(query, found, search.stop)
    return answer_for_event(rule, event_found)


def _passed(
    rule: Rule, event: str, number: int | None, identity: str | None, sources: SourceNamed
) -> tuple[Explanation, str]:
    if _is_retained(event):
        return answer_for_event(rule, recorded_event(Path(event), number)), ""
    value = choose_given(event, number, identity)
    found = answer_for_value(rule, value, sources)
    if found.matches is not None or not raised_by(rule, value):
        return found, ""
    is_retained = rule.source == SYSCALL and isinstance(value.get("id"), str)
    search = f" `--event-id {value['id']}` looks its whole event up." if is_retained else ""
    return found, f"This alert was raised by the rule, so its event matched the rule as it was then.{printable(search)}"


def _print_all(rule: Rule, event: str, sources: SourceNamed, *, as_json: bool) -> None:
    if _is_retained(event):
        answers = answers_for_recording(rule, Path(event))
    else:
        values = enumerate(read_given(event), 1)
        answers = ((number, answer_for_value(rule, value, sources)) for number, value in values)
    if as_json:
        click.echo(json.dumps([{"num": number} | _facts(rule, each) for number, each in answers], indent=2))
        return
    for number, each in answers:
        click.echo(f"{number:>6}  {each.sentence()}")
