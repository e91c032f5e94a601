"""`lanner rules validate`: checks rule files."""

import sys

import click

from lanner.cli.app import Options, front_command
from lanner.cli.terminal.output import coloured
from lanner.errors import BAD_INPUT
from lanner.ruleset.validate import validate
from processor.loading import LoadResult
from processor.loading.problems import report


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
@click.option("--alone", is_flag=True, help="Check FILES without the built-in rules and /etc/lanner/rules.d.")
@click.option("--strict", is_flag=True, help="Warnings count as errors.")
@click.option("--falco", is_flag=True, help="Report what Falco ignores or doesn't know as errors.")
def command(options: Options, files: tuple[str, ...], *, alone: bool, strict: bool, falco: bool) -> int:
    """Check rule FILES on top of the active ones, or the active ones; report all errors with their locations.

    FILES are loaded after the built-in rules and /etc/lanner/rules.d, or after those of --rules, and can use their
    macros and lists. Exits with 1 on errors, and with --strict on warnings. docs/rules-lints.md explains each code.
    --format github prints annotations for GitHub Actions. --falco is for files shared with Falco, which ignores keys
    that it doesn't know, such as `correlation`.
    """
    result = validate(options.settings(), files, alone=alone, falco=falco)
    _print(result, options.format or "text")
    return 0 if result.ok and not (strict and result.warnings) else BAD_INPUT
