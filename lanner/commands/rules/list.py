"""`lanner rules list`: lists the rules."""

import json

import click
from rich.text import Text

from lanner.cli.app import Options, front_command
from lanner.cli.terminal.output import paint
from lanner.cli.terminal.tables import print_table
from lanner.errors import BadInput
from lanner.ruleset.load import load_or_fail
from lanner.ruleset.sources import find_rules
from processor.loading import Rule
from processor.loading.problems.hints import did_you_mean
from schemas.catalogue.priorities import BY_NAME


@front_command("list", example="lanner rules list --tag container --priority warning")
@click.option("--tag", "tags", multiple=True, help="Only rules with this tag; repeatable, all must be present.")
@click.option(
    "--priority",
    type=click.Choice(tuple(BY_NAME)[::-1]),
    help="Only rules of this priority or higher.",
)
@click.option("--file", "file", help="Only rules whose file name contains this.")
@click.option("--enabled/--disabled", "enabled", default=None, help="Only enabled, or only disabled rules.")
def command(
    options: Options, tags: tuple[str, ...], priority: str | None, file: str | None, *, enabled: bool | None
) -> None:
    """List the active rules, with priority, tags and file."""
    settings = options.settings()
    floor = BY_NAME[priority] if priority else None
    rules = load_or_fail(settings, find_rules(settings)).rules
    known = sorted({tag for rule in rules for tag in rule.tags})
    if unknown := [tag for tag in tags if tag not in known]:
        hint = did_you_mean(unknown[0], known)
        raise BadInput(f"no rule has the tag {unknown[0]!r}{f'; {hint}' if hint else '.'}")
    chosen = [
        rule
        for rule in rules
        if set(tags) <= set(rule.tags)
        and (floor is None or rule.priority <= floor)
        and (file is None or file in rule.file)
        and (enabled is None or rule.enabled is enabled)
    ]
    if options.format == "json":
        click.echo(json.dumps([_row(rule) for rule in chosen], indent=2))
        return
    rows = [
        (
            rule.name,
            Text.from_ansi(paint(str(rule.priority), str(rule.priority))),
            "on" if rule.enabled else "off",
            f"{rule.file}:{rule.line}",
            ", ".join(rule.tags),
        )
        for rule in chosen
    ]
    print_table(("RULE", "PRIORITY", "", "FILE", "TAGS"), rows)


def _row(rule: Rule) -> dict[str, object]:
    return {
        "name": rule.name,
        "priority": str(rule.priority),
        "enabled": rule.enabled,
        "tags": list(rule.tags),
        "source": rule.source,
        "description": rule.description,
        "response": rule.response,
        "event_types": sorted(rule.event_types),
        "file": rule.file,
        "line": rule.line,
    }
