"""`lanner rules coverage`: shows which ATT&CK techniques the rules cover."""

import json
from typing import Any

import click

from lanner.cli.app import Options, front_command
from lanner.cli.terminal.tables import print_table
from lanner.ruleset.attack.coverage import PLATFORMS, AttackCoverage, attack_coverage
from lanner.ruleset.attack.navigator import layer
from lanner.ruleset.load import load_or_fail
from lanner.ruleset.sources import find_rules
from schemas.catalogue.attack import TACTICS, VERSION


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
def command(options: Options, platforms: tuple[str, ...], *, gaps: bool) -> None:
    """Show which techniques of MITRE ATT&CK the active rules cover, by the ids in their tags.

    A technique without a rule is a gap, unless its technique or one of its subtechniques has one; all others are
    covered. Disabled rules don't count. --format navigator prints a layer for ATT&CK Navigator.
    """
    settings = options.settings()
    coverage = attack_coverage(load_or_fail(settings, find_rules(settings)).rules, platforms or PLATFORMS)
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
