"""`lanner rules validate`, `schema`, `lsp` and `convert`: checks of rule files, and rules of other tools."""

import json
import sys
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import click

from foundation.text import printable
from lanner.cli.app import NO_SETTINGS, Group, Options, front_command
from lanner.cli.options import alone_option, write_text
from lanner.cli.tables import CONVERT
from lanner.errors import BAD_INPUT, BadInput
from lanner.libraries import need
from lanner.ruleset.load import validate_files
from lanner.ruleset.schema import rule_schema
from lanner.settings import Settings
from lanner.terminal.output import coloured, note
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
    from lanner.ruleset.language_server import RulesServer

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


@click.group("convert", cls=Group, lazy=CONVERT, example="lanner rules convert sigma rules/linux --output sigma.yaml")
def command() -> None:
    """Convert rules of other tools."""


@front_command(
    "sigma",
    example=(
        "lanner rules convert sigma my_sigma_rule.yml\n"
        "lanner rules convert sigma sigma/rules/linux --output sigma.yaml     (and sigma_test.yaml)"
    ),
    formats=(),
    without=NO_SETTINGS,
)
@click.argument("paths", nargs=-1, required=True, metavar="PATH...", type=click.Path(path_type=Path, exists=True))
@click.option(
    "--output", type=click.Path(path_type=Path, dir_okay=False), help="Write the rules here, tests beside it."
)
@click.option("--exact-paths", is_flag=True, help="Compare paths exactly, which is faster.")
@click.option("--strict", is_flag=True, help="A rule that can't be converted counts as a failure.")
def convert_sigma(
    options: Options, paths: tuple[Path, ...], output: Path | None, *, exact_paths: bool, strict: bool
) -> int:
    """Convert the Sigma rules for Linux in files and folders.

    Takes rules on process_creation, file_event, network_connection and auditd, and correlations. Each rule that can't
    be converted has a line on standard error with its id and the reason. docs/sigma.md describes what maps. Needs
    pySigma.
    """
    need("sigma", "sigma")
    from lanner.sigma.cases import cases_of
    from lanner.sigma.convert import convert
    from lanner.sigma.rules import file_text
    from processor.loading import RuleFile, load_rules

    done = convert(paths, exact_paths=exact_paths)
    for each in done.rejected:
        note(printable(f"{each.file}: {each.rule}: {each.reason}"))
    if not done.rules:
        where = ", ".join(map(str, paths))
        raise BadInput(f"{where}: no rule can be converted." if done.rejected else f"{where}: no Sigma rule for Linux.")
    text = file_text(f"Made of {', '.join(map(str, paths))} by `lanner rules convert sigma`.", done.rules)
    if output is None:
        sys.stdout.write(text)
    else:
        tests = cases_of(load_rules([RuleFile(str(output), text)]))
        write_text(output, text)
        write_text(output.with_name(f"{output.stem}_test.yaml"), tests.text)
        for name in tests.unproven:
            note(printable(f"no test was found for: {name}"))
    if not options.quiet:
        others = f"; {done.others} for other products skipped" if done.others else ""
        count = len(done.rules)
        note(f"{count} rule{'' if count == 1 else 's'} converted, {len(done.rejected)} rejected{others}")
    return BAD_INPUT if strict and done.rejected else 0
