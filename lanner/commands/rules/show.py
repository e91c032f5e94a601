"""`lanner rules show`, `list` and `coverage`: rules after appends and overrides, and the techniques they cover."""

import json
from typing import Any

import click
from rich.text import Text

from foundation.text import did_you_mean, printable
from lanner.cli.app import Options, front_command
from lanner.errors import BadInput
from lanner.ruleset.attack import PLATFORMS, AttackCoverage, attack_coverage, layer
from lanner.ruleset.load import choose_rule, load_or_fail
from lanner.terminal.output import paint
from lanner.terminal.tables import print_page, print_table
from lanner.wiring.rules import find_rules
from processor.language.ast import Macro, checks, deep, fields_in, walk
from processor.language.printer import print_condition, print_operand
from processor.loading import Rule
from processor.loading.condition_checks import fields_of
from processor.output.tokens import Token, parse_output
from processor.rule import without_window_tokens
from schemas.catalog.attack import TACTICS, VERSION
from schemas.catalog.priorities import BY_NAME


@front_command(
    "coverage",
    example=(
        "lanner rules coverage --gaps\n"
        "lanner rules coverage -r my_rules.yaml --format navigator > layer.json     (for ATT&CK Navigator)"
    ),
    formats=("text", "json", "navigator"),
)
@click.option(
    "--platform",
    "platforms",
    multiple=True,
    type=click.Choice(PLATFORMS),
    help="Only the matrix of this platform; otherwise Linux and Containers.",
)
@click.option("--gaps", is_flag=True, help="List the techniques without a rule instead.")
def coverage(options: Options, platforms: tuple[str, ...], *, gaps: bool) -> None:
    """Show which techniques of MITRE ATT&CK the active rules cover, by the ids in their tags.

    A technique without a rule is a gap, unless its technique or one of its subtechniques has one; all others are
    covered. Disabled rules don't count. --format navigator prints a layer for ATT&CK Navigator.
    """
    settings = options.settings()
    coverage = attack_coverage(load_or_fail(find_rules(settings)).rules, platforms or PLATFORMS)
    if options.format == "navigator":
        click.echo(json.dumps(layer(coverage, "Lanner"), indent=2))
    elif options.format == "json":
        click.echo(json.dumps(_as_rows(coverage), indent=2))
    elif gaps:
        rows = [(each.id, each.name, _names(each.tactics)) for each in coverage.gaps]
        print_table(("TECHNIQUE", "NAME", "TACTICS"), rows)
    else:
        _print(coverage)


def _print(coverage: AttackCoverage) -> None:
    print_table(
        ("TECHNIQUE", "NAME", "TACTICS", "RULES"),
        [
            (each.technique.id, each.technique.name, _names(each.technique.tactics), ", ".join(each.rules))
            for each in coverage.covered
        ],
    )
    click.echo()
    print_table(
        ("TACTIC", "COVERED", "TECHNIQUES"),
        [(each.tactic.name, str(each.covered), str(each.total)) for each in coverage.tactics],
    )
    total = sum(each.is_known for each in coverage.covered)
    where = " and ".join(coverage.platforms)
    have = "technique has" if total == 1 else "techniques have"
    click.echo(f"\n{total} {have} rules; {len(coverage.gaps)} of {where} have none (ATT&CK {VERSION})")
    if unknown := [each.technique.id for each in coverage.covered if not each.is_known]:
        click.echo(f"In tags, but not in ATT&CK {VERSION}: {', '.join(unknown)}")


def _names(tactics: tuple[str, ...]) -> str:
    return ", ".join(TACTICS[tactic].name for tactic in tactics)


def _as_rows(coverage: AttackCoverage) -> dict[str, Any]:
    return {
        "attack": VERSION,
        "platforms": list(coverage.platforms),
        "covered": [
            {
                "id": each.technique.id,
                "name": each.technique.name,
                "tactics": each.technique.tactics,
                "rules": each.rules,
            }
            for each in coverage.covered
        ],
        "gaps": [{"id": each.id, "name": each.name, "tactics": each.tactics} for each in coverage.gaps],
        "tactics": [
            {"id": each.tactic.id, "name": each.tactic.name, "covered": each.covered, "total": each.total}
            for each in coverage.tactics
        ],
    }


@front_command("list", example="lanner rules list --tag container --priority warning")
@click.option("--tag", "tags", multiple=True, help="Only rules with this tag; repeatable, all must be present.")
@click.option("--priority", type=click.Choice(tuple(BY_NAME)[::-1]), help="Only rules of this priority or higher.")
@click.option("--file", "file", help="Only rules whose file name contains this.")
@click.option("--enabled/--disabled", "enabled", default=None, help="Only enabled, or only disabled rules.")
def list_rules(
    options: Options, tags: tuple[str, ...], priority: str | None, file: str | None, *, enabled: bool | None
) -> None:
    """List the active rules, with priority, tags and file."""
    settings = options.settings()
    floor = BY_NAME[priority] if priority else None
    rules = load_or_fail(find_rules(settings)).rules
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


@front_command("show", example='lanner rules show "Terminal shell in container" --expand')
@click.argument("name")
@click.option("--expand", is_flag=True, help="Expand macros and lists.")
def show_rule(options: Options, name: str, *, expand: bool) -> None:
    """Show rule NAME with all appends, overrides and exceptions applied, and what to do about its alerts."""
    from lanner.ruleset.triage import triage_page

    settings = options.settings()
    loaded = load_or_fail(find_rules(settings))
    rule = choose_rule(loaded.rules, name)
    with deep():
        facts = _facts(rule, expand=expand)
    if actions := [f"{each.name} ({each.type} {each.target})" for each in loaded.actions if each.is_for(rule)]:
        facts["actions"] = actions
    page = triage_page(rule, loaded)
    if options.format == "json":
        texts = {"description": rule.description, **({"response": rule.response} if rule.response else {})}
        click.echo(json.dumps(facts | texts | {"triage": page}, indent=2))
        return
    for key, value in facts.items():
        shown = ", ".join(value) if isinstance(value, list) else str(value)
        click.echo(f"{key + ':':17}{printable(' '.join(shown.split()))}")
    print_page(page)


def _facts(rule: Rule, *, expand: bool) -> dict[str, object]:
    fields = (field for check in checks(rule.condition) for field in fields_of(check))
    output = (part.side for part in parse_output(without_window_tokens(rule.output)) if isinstance(part, Token))
    macros = (node.name for node in walk(rule.condition) if isinstance(node, Macro))
    return {
        "rule": rule.name,
        "priority": str(rule.priority),
        "enabled": "yes" if rule.enabled else "no",
        "file": f"{rule.file}:{rule.line}",
        "source": rule.source,
        "tags": list(rule.tags),
        "event types": sorted(rule.event_types),
        "fields": sorted(set(map(print_operand, fields))),
        "output fields": sorted({print_operand(field) for side in output for field in fields_in(side)}),
        "macros": list(dict.fromkeys(macros)),
        "exceptions": [each.name for each in rule.exceptions],
        "condition": print_condition(rule.condition, expand_macros=expand),
        "output": rule.output,
    }
