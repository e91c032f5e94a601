"""`lanner rules validate`, `schema` and `lsp`: checks of rule files, also in editors."""

import json
import sys
from collections.abc import Iterable
from dataclasses import replace

import click

from lanner.cli.app import NO_SETTINGS, Options, front_command
from lanner.cli.options import alone_option
from lanner.errors import BAD_INPUT
from lanner.libraries import need
from lanner.ruleset.editor.schema import rule_schema
from lanner.ruleset.load import validate_files
from lanner.settings import Settings
from lanner.terminal.output import coloured
from lanner.wiring.rules import find_below, find_rules
from processor.loading import LoadResult, Problem, report
from processor.loading.rules import apply_switches


@front_command("lsp", example="lanner rules lsp\nlanner rules lsp --alone -r falco_rules.yaml", formats=())
@alone_option
def lsp(options: Options, *, alone: bool) -> None:
    """Serve an editor over standard input and output, by the Language Server Protocol.

    Shows the problems that `lanner rules validate` reports, and replaces what was probably meant. Documents fields,
    macros and lists, goes to their definitions, and completes keys, values and names by their place. Files are checked
    on top of the active rules, or those of --rules.
    """
    need("lsp", "pygls")
    from lanner.ruleset.editor.server import RulesServer

    RulesServer(lambda: find_below(options.settings(), alone=alone)).serve()


@front_command("schema", example="lanner rules schema > rules.schema.json", formats=(), without=NO_SETTINGS)
def rules_schema(_options: Options) -> None:
    """Print the JSON schema of rule files, with which editors check and complete keys.

    In an editor with YAML support, the first line of a rule file names the schema:
    `# yaml-language-server: $schema=rules.schema.json`. `lanner rules lsp` also checks conditions.
    """
    click.echo(json.dumps(rule_schema(), indent=2))


def _print(result: LoadResult, form: str) -> None:
    problems = (*result.errors, *result.warnings, *result.infos)
    if form == "json":
        click.echo(report.as_json(result))
    elif form == "github":
        click.echo(report.as_github(problems), nl=False)
    else:
        if problems:
            click.echo(report.as_text(problems, colour=coloured(sys.stdout)))
        click.echo(report.summary(result))


@front_command(
    "validate",
    example="lanner rules validate my_rules.yaml\nlanner rules validate --alone -r falco_rules.yaml my_rules.yaml",
    formats=("text", "json", "github"),
)
@click.argument("files", nargs=-1)
@alone_option
@click.option("--strict", is_flag=True, help="Warnings count as errors.")
@click.option("--falco", is_flag=True, help="Report what Falco ignores or doesn't know as errors.")
def check_rules(options: Options, files: tuple[str, ...], *, alone: bool, strict: bool, falco: bool) -> int:
    """Check rule FILES on top of the active ones, or the active ones; report all errors with their locations.

    FILES are loaded after the built-in rules and /etc/lanner/rules.d, or after those of --rules, and can use their
    macros and lists. Exits with 1 on errors, and with --strict on warnings. docs/rules-lints.md explains each code.
    --format github prints annotations for GitHub Actions. --falco is for files shared with Falco, which ignores keys
    that it doesn't know, such as `correlation`.
    """
    result = _checked(options.settings(), files, alone=alone, falco=falco)
    _print(result, options.format or "text")
    return 0 if result.ok and not (strict and result.warnings) else BAD_INPUT


def _checked(settings: Settings, names: tuple[str, ...], *, alone: bool, falco: bool) -> LoadResult:
    """Load and lint the named files, on top of the active rules unless alone; without names, the active rules.

    Raises BadInput if a path doesn't exist or can't be read.
    """
    choices = find_rules(replace(settings, rules_files=names) if names else settings)
    below = find_below(settings, alone=alone) if names else ()
    return validate_files(
        below,
        choices.files,
        falco=falco,
        rule_matching=settings.rule_matching,
        further=lambda result: _not_simulated(
            settings, replace(result, rules=apply_switches(result.rules, choices.switches))
        ),
    )


def _not_simulated(settings: Settings, result: LoadResult) -> Iterable[Problem]:
    if not any(policy.state == "do" for policy in result.actions):
        return ()
    from lanner.commands.simulations import not_simulated

    return not_simulated(settings, result)
