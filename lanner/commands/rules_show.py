"""`lanner rules show`: one rule as it is in force."""

import difflib
import json

import click

from lanner.failures import BadInput
from lanner.front import Options, front_command
from lanner.rule_files import find_rules
from lanner.rules_in_force import load_or_fail
from processor.language.printer import print_condition
from processor.loading import Rule
from schemas.printable import printable


@front_command("show", example='lanner rules show "Terminal shell in container" --expand')
@click.argument("name")
@click.option("--expand", is_flag=True, help="Put the conditions of macros and the items of lists in place.")
def command(options: Options, name: str, *, expand: bool) -> None:
    """Show rule NAME after all appends, overrides and exceptions."""
    settings = options.settings()
    rules = {rule.name: rule for rule in load_or_fail(settings, find_rules(settings)).rules}
    rule = rules.get(name) or next((rule for rule in rules.values() if rule.name.lower() == name.lower()), None)
    if rule is None:
        close = difflib.get_close_matches(name, rules, n=1)
        hint = f" Did you mean {close[0]!r}?" if close else " `lanner rules list` names them."
        raise BadInput(f"there is no rule {name!r}.{hint}")
    facts = _facts(rule, expand=expand)
    if options.format == "json":
        click.echo(json.dumps(facts, indent=2))
        return
    for key, value in facts.items():
        shown = ", ".join(value) if isinstance(value, list) else str(value)
        click.echo(f"{key + ':':13}{printable(' '.join(shown.split()))}")


def _facts(rule: Rule, *, expand: bool) -> dict[str, object]:
    return {
        "rule": rule.name,
        "priority": str(rule.priority),
        "enabled": "yes" if rule.enabled else "no",
        "file": f"{rule.file}:{rule.line}",
        "tags": list(rule.tags),
        "event types": sorted(rule.event_types),
        "exceptions": list(rule.exception_names),
        "description": rule.description,
        "condition": print_condition(rule.condition) if expand else rule.condition_text,
        "output": rule.output,
    }
