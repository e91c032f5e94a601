"""`lanner rules explain`: why a rule did or didn't match an event."""

import json
import sys
from pathlib import Path

import click

from lanner.cli.app import Options, front_command
from lanner.cli.terminal.output import coloured
from lanner.errors import BadInput
from lanner.ruleset.explanation_text import as_json_tree, as_text_tree
from lanner.ruleset.load import load_or_fail
from lanner.ruleset.lookup import choose_rule
from lanner.ruleset.sources import find_rules
from lanner.ruletest.events.input import (
    BatchEvent,
    given_fields,
    is_recording,
    read_given,
    recorded_event,
    stated_event,
)
from processor.correlation.plan.split import stateful_names
from processor.detection.explain import Explained, MappingEvaluator, explain, explain_batch
from processor.loading import Rule
from schemas.text.printable import printable


@front_command(
    "explain",
    example=(
        'lanner rules explain "Terminal shell in container" --event incident.avro --num 4711\n'
        'lanner rules explain "Clear log files" --event \'{"evt.type": "openat", "fd.name": "/var/log/wtmp"}\''
    ),
)
@click.argument("name")
@click.option(
    "--event", "event", required=True, metavar="FILE|JSON", help="A recording, an alert or an event, as file or JSON."
)
@click.option("--num", "number", type=int, help="For a recording: the event with this evt.num.")
@click.option("--expand", is_flag=True, help="Expand all macros, and print values in full.")
def command(options: Options, name: str, event: str, number: int | None, *, expand: bool) -> None:
    """Show the condition of rule NAME as a tree: each part true, false or missing, with the values that decided it.

    An event is one of a recording (select it by --num), an alert as JSON, a line of `lanner events tail --format json`,
    a mapping of fields, or an event of a rule test: '{"evt.type": "openat", "fd.name": "/etc/shadow", "proc": "cat"}'.
    """
    settings = options.settings()
    loaded = load_or_fail(settings, find_rules(settings), warnings=False)
    rule = choose_rule(loaded.rules, name)
    stateful = stateful_names(rule.condition, loaded.correlations)
    tree, note = _explanation(rule, event, number)
    if options.format == "json":
        facts = {
            "rule": rule.name,
            "matches": tree.is_true,
            "remembers": list(stateful),
            "condition": as_json_tree(tree),
        }
        click.echo(json.dumps(facts, indent=2))
        return
    verb = "matches" if tree.is_true else "does not match"
    click.echo(f"{printable(rule.name)} ({printable(rule.file)}:{rule.line}) {verb}{note}")
    for macro in stateful:
        click.echo(
            f"{printable(macro)} is stateful: true means that this event counts, not that the threshold is reached."
        )
    click.echo(as_text_tree(tree, expand=expand, colour=coloured(sys.stdout)), nl=False)


def _explanation(rule: Rule, event: str, number: int | None) -> tuple[Explained, str]:
    path = Path(event) if event.lstrip()[:1] not in ("{", "[") else None
    if path is not None and path.exists() and is_recording(path):
        return _of_batch(rule, recorded_event(path, number))
    if number is not None:
        raise BadInput("--num is for recordings.")
    value = read_given(event)
    stated = stated_event(value)
    if stated is not None:
        return _of_batch(rule, stated)
    fields = given_fields(value)
    event_type = fields.get("evt.type")
    return explain(rule, MappingEvaluator(fields)), _type_note(rule, event_type)


def _of_batch(rule: Rule, event: BatchEvent) -> tuple[Explained, str]:
    event_type = event.batch.strings[event.batch.columns["type"][event.index]]
    return explain_batch(rule, event.batch, event.index), _type_note(rule, event_type)


def _type_note(rule: Rule, event_type: object) -> str:
    """Return the overriding fact, if any: a rule is only evaluated for the event types that it selects."""
    if not isinstance(event_type, str):
        return "; the event has no evt.type, so live it would match no rule"
    return "" if event_type in rule.event_types else f"; it isn't evaluated for events of type {printable(event_type)}"
