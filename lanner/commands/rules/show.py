"""`lanner rules show`: shows one rule after appends and overrides."""

import json

import click

from lanner.cli.app import Options, front_command
from lanner.rule_docs import triage_page
from lanner.ruleset.load import load_or_fail
from lanner.ruleset.lookup import choose_rule
from lanner.ruleset.sources import find_rules
from processor.compiler.recursion import deep
from processor.language.ast import Check, Field, FieldValue, Left, Macro, Node, Transformer, children
from processor.language.printer import print_condition, print_operand
from processor.loading import Rule
from processor.output.tokens import Token, parse_output, without_correlation
from schemas.text.printable import printable


@front_command("show", example='lanner rules show "Terminal shell in container" --expand')
@click.argument("name")
@click.option("--expand", is_flag=True, help="Expand macros and lists.")
def command(options: Options, name: str, *, expand: bool) -> None:
    """Show rule NAME with all appends, overrides and exceptions applied."""
    settings = options.settings()
    rule = choose_rule(load_or_fail(settings, find_rules(settings)).rules, name)
    with deep():
        facts = _facts(rule, expand=expand)
    if options.format == "json":
        click.echo(json.dumps(facts, indent=2))
        return
    for key, value in facts.items():
        shown = ", ".join(value) if isinstance(value, list) else str(value)
        click.echo(f"{key + ':':17}{printable(' '.join(shown.split()))}")


def _facts(rule: Rule, *, expand: bool) -> dict[str, object]:
    macros: dict[str, None] = {}
    fields: dict[str, None] = {}
    _look(rule.condition, macros, fields)
    return {
        "rule": rule.name,
        "priority": str(rule.priority),
        "enabled": "yes" if rule.enabled else "no",
        "file": f"{rule.file}:{rule.line}",
        "source": rule.source,
        "tags": list(rule.tags),
        "event types": sorted(rule.event_types),
        "fields": sorted(fields),
        "output fields": sorted(_output_fields(rule)),
        "macros": list(macros),
        "exceptions": [each.name for each in rule.exceptions],
        "description": rule.description,
        **({"response": rule.response} if rule.response else {}),
        **({"triage": str(page)} if (page := triage_page(rule)) else {}),
        "condition": print_condition(rule.condition, expand_macros=expand),
        "output": rule.output,
    }


def _output_fields(rule: Rule) -> set[str]:
    found: dict[str, None] = {}
    for part in parse_output(without_correlation(rule.output)):
        if isinstance(part, Token):
            _sides(part.side, found)
    return set(found)


def _look(node: Node, macros: dict[str, None], fields: dict[str, None]) -> None:
    """Collect the macros and fields that a condition uses, in order, at any depth."""
    todo = [node]
    while todo:
        current = todo.pop()
        if isinstance(current, Macro):
            if current.name not in macros:
                macros[current.name] = None
                todo.append(current.body)
        elif isinstance(current, Check):
            _sides(current.left, fields)
            if isinstance(current.right, FieldValue):
                _sides(current.right.field, fields)
            elif isinstance(current.right, Transformer):
                _sides(current.right, fields)
        else:
            todo.extend(reversed(children(current)))


def _sides(side: Left, fields: dict[str, None]) -> None:
    if isinstance(side, Field):
        fields[print_operand(side)] = None
        return
    for argument in side.arguments:
        if isinstance(argument, Field | Transformer):
            _sides(argument, fields)
